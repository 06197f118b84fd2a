// Families whose tensor-parallel places are ranks.

#include "family.h"
#include "mpi_session.h"

namespace evalmpi::model {
namespace {

TEST(FamilyMpi, EqualsTransformersWithOnePlaceARank) {
  comm::Communicator& world = comm::test_session().world();
  for (const char* name : {"qwen2_moe", "olmo2", "bloom", "gemma3"}) {
    SCOPED_TRACE(name);
    const std::filesystem::path folder = families() / name;
    const ModelSpec spec = read_model_spec(folder);
    const Expected expected(folder);
    const Transformer model(load_weights(folder, spec, make_shard_plan(spec, world.size(), 1), world.rank()));
    const InferenceThread inference;
    expect_equal(run(model, expected, world), expected);
  }
}

}  // namespace
}  // namespace evalmpi::model

// Adapters on models whose tensor-parallel places are ranks.

#include "adapter_fixture.h"
#include "evalmpi/model/adapter.h"
#include "evalmpi/model/shard_plan.h"
#include "evalmpi/model/weights.h"
#include "mpi_session.h"

namespace evalmpi::model {
namespace {

TEST(AdapterMpi, EqualsPeftWithOnePlaceARank) {
  comm::Communicator& world = comm::test_session().world();
  for (const std::string& name : adapter_names()) {
    SCOPED_TRACE(name);
    const fs::path folder = fixtures() / "adapters" / name, base = base_of(folder);
    const Expected expected(folder);
    const ModelSpec spec = with_adapter(read_model_spec(base), folder);
    const Transformer model(load_weights(base, spec, make_shard_plan(spec, world.size(), 1), world.rank()));
    const InferenceThread inference;
    EXPECT_LE(largest_error(logits_of(model, expected, world), expected.logits), limit_of(expected));
  }
}

}  // namespace
}  // namespace evalmpi::model

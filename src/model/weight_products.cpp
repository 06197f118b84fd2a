#include <ATen/core/Tensor.h>

#include <variant>

#include "evalmpi/model/weights.h"

namespace evalmpi::model {
namespace {

int64_t bytes_of_tensor(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<int64_t>(tensor.nbytes()) : 0;
}

int64_t bytes_of_norm(const Norm& norm) { return bytes_of_tensor(norm.weight_D) + bytes_of_tensor(norm.bias_D); }

using StoredWeight = std::variant<at::Tensor, ops::PackedLinear>;

at::Tensor multiply(const at::Tensor& x_TK, const StoredWeight& weight, const at::Tensor& bias_N,
                    const ops::ProductForm& form) {
  if (const auto* packed = std::get_if<ops::PackedLinear>(&weight)) return ops::linear(x_TK, *packed, bias_N, form);
  return ops::linear(x_TK, std::get<at::Tensor>(weight), bias_N).to(form.out);
}

}  // namespace

at::Tensor AdapterTerm::operator()(const at::Tensor& x_TK, const at::Tensor& base_TN, bool few_rows) const {
  const auto times = [few_rows](const at::Tensor& x, const StoredWeight& factor) {
    return multiply(x, factor, {}, {.few_rows = few_rows});
  };
  const at::Tensor added_TN = times(times(x_TK, a_RK).mul(scale), b_NR);
  return gain_N.defined() ? base_TN.mul(gain_N.sub(1)).add(added_TN.mul(gain_N)) : added_TN;
}

at::Tensor Linear::operator()(const at::Tensor& x_TK, const ops::ProductForm& form) const {
  if (terms.empty()) return multiply(x_TK, weight, bias, form);
  const at::Tensor base_TN = multiply(x_TK, weight, {}, {.few_rows = form.few_rows});
  at::Tensor sum_TN = base_TN;
  for (const AdapterTerm& term : terms) sum_TN = sum_TN.add(term(x_TK, base_TN, form.few_rows));
  return (bias.defined() ? sum_TN.add(bias) : sum_TN).to(form.out);
}

int64_t AdapterTerm::bytes() const {
  int64_t total = bytes_of_tensor(gain_N);
  for (const auto* factor : {&a_RK, &b_NR}) {
    const auto* packed = std::get_if<ops::PackedLinear>(factor);
    total += packed != nullptr ? packed->bytes() : bytes_of_tensor(std::get<at::Tensor>(*factor));
  }
  return total;
}

int64_t Linear::bytes() const {
  const auto* packed = std::get_if<ops::PackedLinear>(&weight);
  int64_t total = bytes_of_tensor(bias);
  for (const AdapterTerm& term : terms) total += term.bytes();
  return total + (packed ? packed->bytes() : bytes_of_tensor(std::get<at::Tensor>(weight)));
}

int64_t Mlp::bytes() const { return gate.bytes() + up.bytes() + down.bytes(); }

int64_t LayerWeights::bytes() const {
  int64_t total = mlp.bytes() + shared.bytes();
  for (const at::Tensor* tensor : {&attention_out_bias_D, &down_bias_D, &sinks_N, &router_correction_E}) {
    total += bytes_of_tensor(*tensor);
  }
  for (const Norm* norm : {&attention_norm, &query_down_norm, &key_value_down_norm, &query_norm, &key_norm,
                           &attention_post_norm, &mlp_norm, &mlp_post_norm}) {
    total += bytes_of_norm(*norm);
  }
  for (const Linear* linear :
       {&query_down, &key_value_down, &query, &key, &value, &attention_out, &router, &shared_router}) {
    total += linear->bytes();
  }
  for (const Mlp& expert : experts) total += expert.bytes();
  return total;
}

int64_t Weights::bytes() const {
  int64_t total = bytes_of_tensor(embedding_VD) + bytes_of_tensor(position_PD) + bytes_of_norm(embedding_norm) +
                  bytes_of_norm(final_norm) + project_in.bytes() + project_out.bytes() + head_VD.bytes() +
                  bytes_of_tensor(head_bias_V) + bytes_of_tensor(alibi_NP);
  for (const ops::RotaryTable& table : rotaries) total += bytes_of_tensor(table.cos_PR) + bytes_of_tensor(table.sin_PR);
  if (head_lora) total += head_lora->a_RD.bytes();
  for (const LayerWeights& layer : layers) total += layer.bytes();
  return total;
}

}  // namespace evalmpi::model

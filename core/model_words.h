// The words of a model's config.json for what core/model.h calls by an enumerator: the first of each value is the one that is written.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "core/dtype.h"
#include "core/model.h"

namespace orrery::model_words {

inline constexpr auto kRms = Normalization::rmsnorm;
inline constexpr auto kLayer = Normalization::layernorm;
inline constexpr auto kRope = PositionEmbedding::rope;
inline constexpr auto kLearned = PositionEmbedding::learned;

inline constexpr std::array<std::pair<std::string_view, Normalization>, 5> kNormalizations{
    {{"rmsnorm", kRms}, {"layernorm", kLayer}, {"RMSNorm", kRms}, {"LayerNorm", kLayer}, {"layernorm1p", kLayer}}};

inline constexpr std::array<std::pair<std::string_view, Activation>, 13> kActivations{{
    {"silu", Activation::silu},
    {"gelu", Activation::gelu},
    {"gelu_tanh", Activation::gelu_tanh},
    {"relu", Activation::relu},
    {"relu2", Activation::relu_squared},
    {"swish", Activation::silu},
    {"swiglu", Activation::silu},
    {"gelu_new", Activation::gelu_tanh},
    {"gelu_fast", Activation::gelu_tanh},
    {"gelu_pytorch_tanh", Activation::gelu_tanh},
    {"relu_squared", Activation::relu_squared},
    {"squared_relu", Activation::relu_squared},
    {"geglu", Activation::gelu},
}};

inline constexpr std::array<std::pair<std::string_view, PositionEmbedding>, 7> kPositions{{
    {"rope", kRope},
    {"learned", kLearned},
    {"alibi", PositionEmbedding::alibi},
    {"none", PositionEmbedding::none},
    {"absolute", kLearned},
    {"learned_absolute", kLearned},
    {"rotary", kRope},
}};

// How a router scores: whether by sigmoids.
inline constexpr std::array<std::pair<std::string_view, bool>, 2> kScores{{{"softmax", false}, {"sigmoid", true}}};

inline constexpr std::array<std::pair<std::string_view, DType>, 10> kDTypes{{
    {"float32", DType::fp32},
    {"bfloat16", DType::bf16},
    {"float16", DType::fp16},
    {"float8_e4m3fn", DType::fp8},
    {"torch.float32", DType::fp32},
    {"torch.bfloat16", DType::bf16},
    {"torch.float16", DType::fp16},
    {"torch.float8_e4m3fn", DType::fp8},
    {"half", DType::fp16},
    {"float", DType::fp32},
}};

template <class T, std::size_t N>
std::string name_in(const std::array<std::pair<std::string_view, T>, N>& table, T value) {
  for (const auto& [name, v] : table) {
    if (v == value) return std::string(name);
  }
  return {};
}

}  // namespace orrery::model_words

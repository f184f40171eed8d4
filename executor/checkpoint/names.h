// Where parameters stand in Hugging Face's files of weights.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/model.h"
#include "program/program.h"

namespace orrery::executor {

// Rows [row, row + rows) of a parameter, as (a part of) a stored tensor. A row stands there as a row, `first` rows in; where Hugging Face multiplies
// from the other side (GPT-2's Conv1D), as a column, `first` columns in.
struct StoredPlace {
  std::string tensor;
  std::vector<std::int64_t> shape;  // of the whole tensor
  std::int64_t row = 0, rows = 0, first = 0;
  bool transposed = false;
  bool operator==(const StoredPlace&) const = default;
};

// Of the rows [begin, end) of the whole parameter; in their order. Names and layouts are those of transformers for Llama, Mistral, Qwen 2 and 3,
// Mixtral, DeepSeek, OPT and GPT-2; other families, some of which weave matrices into each other, get Llama's names for the pieces.
std::vector<StoredPlace> stored_places(const Model& model, const program::Parameter& parameter, std::int64_t begin, std::int64_t end);

// Whether transformers reads what stored_places says.
bool named_as_published(const Model& model);

}  // namespace orrery::executor

// Every field of a question as data, for whoever lets it be edited: the plan's, the cluster's (with its device) and the model's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "app/inputs.h"
#include "core/field.h"

namespace orrery::app {

enum class DocumentKind : std::uint8_t { plan, cluster, model };

// A field in its place among the others. Field::path is that of --set: "parallel.tp", "cluster.device.memory", "model.hidden_size".
struct EditableField {
  Field field;
  DocumentKind document = DocumentKind::plan;
  std::string group;  // "Parallelism", "Device", "Network: nvlink"
  std::string label;  // "tp", "memory bandwidth": short, within its group
  // It has a default, and another value. Sizes that a document must give have none; of models and clusters a file says everything.
  bool differs() const { return document == DocumentKind::plan && field.fallback && *field.fallback != field.value; }
};

// In the order in which they are best read; fields of one group stand together. Names and sources of figures are not among them: a cluster is varied
// in what its figures are, not in where they come from.
std::vector<EditableField> fields(const Inputs& inputs);
std::vector<EditableField> fields(const Plan& plan);

// The field of that path; "levels[1].latency" and "levels.1.latency" are the same. Null where there is none.
const EditableField* find_field(const std::vector<EditableField>& fields, const std::string& path);

// Whether the words of `text` (in any order, in any case) all occur in its path, its group, its explanation or its choices.
bool matches(const EditableField& field, const std::string& text);

}  // namespace orrery::app

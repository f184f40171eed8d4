// Models from and to Hugging Face config.json files.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/field.h"
#include "core/model.h"
#include "core/settings.h"

namespace orrery {

// Reads a config.json as published (a multimodal one's text_config), or one with the explicit field names that write_model uses. Published files
// carry hundreds of fields that decide no work: unknown ones are passed over. Wrong types, sizes that cannot be, contradictions between two spellings
// of one size, and missing sizes throw Error at "file:line: field".
Model read_model(std::string_view text, std::string_view file_name);

// A config.json with every field explicit: read_model(write_model(m), …) == m for every m that read_model returns.
std::string write_model(const Model& model);

// What can be varied of a model, with its present value; paths are those of write_model.
std::vector<Field> model_fields(const Model& model);

// The model called `name_or_path` (a shipped name, a config.json, or a folder that holds one) with `settings` applied; a setting of a field that
// nobody reads is an Error, unlike an unknown field in the file. Settings may use the file's names for fields, or those of write_model. Model::name
// is the name, or the file's or folder's.
Model load_model(const std::string& name_or_path, std::span<const Setting> settings = {});

// The names of the shipped models, sorted.
std::vector<std::string> model_names();

}  // namespace orrery

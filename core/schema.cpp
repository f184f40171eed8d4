#include "core/schema.h"

#include "core/error.h"
#include "core/json_edge.h"
#include "core/model_json.h"
#include "core/schema_tree.h"

namespace orrery {
namespace {

using schema::Tree;

// Models are Hugging Face documents, so their reader passes over fields that it does not know. The explicit names and their types are those of a
// model that has every part, as write_model spells it; published files use other names for some of them.
std::string model_schema() {
  Model model;
  model.name = "all", model.family = "llama";
  model.intermediate = model.max_positions = model.embedding_width = model.sliding_window = model.attention_chunk = 1;
  model.position_offset = 1;
  model.dtype = DType::bf16;
  model.mla = Mla{};
  model.mla->q_lora_rank = 1;
  model.moe = Moe{};
  model.moe->router_groups = 1;
  const std::string text = write_model(model);
  const json::Document document(text, "model");

  Tree properties = Tree::object();
  for (const json::Node& field : document.node().children) {
    Tree types = Tree::list();
    switch (field.kind) {
      case json::Node::Kind::boolean:
        types.push(Tree::of("boolean"));
        break;
      case json::Node::Kind::integer:
        types.push(Tree::of("integer"));
        break;
      case json::Node::Kind::real:
        types.push(Tree::of("number"));
        break;
      case json::Node::Kind::text:
        types.push(Tree::of("string"));
        break;
      case json::Node::Kind::list:
        types.push(Tree::of("array"));
        break;
      case json::Node::Kind::object:
        types.push(Tree::of("object"));
        break;
      case json::Node::Kind::null:
        break;
    }
    types.push(Tree::of("null"));
    properties.add(field.key, Tree::object().add("type", std::move(types)));
  }
  Tree out = Tree::object();
  out.add("$schema", Tree::of("https://json-schema.org/draft/2020-12/schema")).add("title", Tree::of("Orrery model: a Hugging Face config.json"));
  out.add("description", Tree::of("Other spellings of these fields are read too (n_layer, d_model …); fields that decide no work are passed over."));
  out.add("type", Tree::of("object")).add("properties", std::move(properties));
  return out.text();
}

}  // namespace

std::vector<std::string> schema_names() { return {"plan", "cluster", "device", "profile", "timeline", "model"}; }

std::string json_schema(std::string_view document) {
  if (document == "plan") return schema::plan_schema();
  if (document == "cluster") return schema::cluster_schema();
  if (document == "device") return schema::device_schema();
  if (document == "profile") return schema::profile_schema();
  if (document == "timeline") return schema::timeline_schema();
  if (document == "model") return model_schema();
  throw Error("schema " + std::string(document), "is not known", did_you_mean(document, schema_names()));
}

}  // namespace orrery

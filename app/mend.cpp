#include "app/mend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <functional>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "app/fields.h"
#include "core/cluster_json.h"
#include "core/model_json.h"
#include "core/plan_json.h"
#include "core/settings.h"

namespace orrery::app {
namespace {

using program::Refusal;
using Refusals = std::vector<Refusal>;

constexpr std::size_t kMostMends = 4;
constexpr std::size_t kMostOfTied = 8;  // values tried of a field that a refusal only speaks of
constexpr std::size_t kMostPairs = 64;  // tried where no single field helps
constexpr std::int64_t kMostDivisors = 4096;

// --- What a change leads to --------------------------------------------------------------------------------------------------------------------

// What is refused after settings; nothing where the readers refuse them.
using Judge = std::function<std::optional<Refusals>(const std::vector<std::string>&)>;

// The work of writing down its schedule.
double passes(const Cluster& cluster, const Plan& plan) {
  const double ranks = static_cast<double>(plan.parallel.tp) * static_cast<double>(plan.parallel.cp) * static_cast<double>(plan.parallel.pp);
  const double dp = std::max(1.0, static_cast<double>(cluster.devices) / std::max(1.0, ranks));
  return 2.0 * static_cast<double>(plan.batch.global) / (static_cast<double>(std::max<std::int64_t>(1, plan.batch.micro)) * dp) *
         static_cast<double>(plan.parallel.pp) * static_cast<double>(plan.parallel.vp);
}
double most_passes(const Inputs& inputs) {
  constexpr double kUsual = 1 << 17;
  return std::max(kUsual, 4 * passes(inputs.cluster, inputs.plan));
}

bool of_the_plan(const std::string& path) { return !path.starts_with("cluster.") && !path.starts_with("model."); }

Judge judge_of(const Inputs& inputs, const std::atomic<bool>* cancel = nullptr) {
  return [&inputs, cancel, most = most_passes(inputs)](const std::vector<std::string>& settings) -> std::optional<Refusals> {
    if (cancel && *cancel) return std::nullopt;
    std::vector<Setting> plan, cluster, model;
    for (const std::string& text : settings) {
      Setting s = parse_setting(text);
      if (s.path.starts_with("cluster."))
        cluster.push_back({s.path.substr(8), s.value});
      else if (s.path.starts_with("model."))
        model.push_back({s.path.substr(6), s.value});
      else
        plan.push_back(std::move(s));
    }
    try {
      const Plan changed = read_plan(apply_settings(write_plan(inputs.plan), "plan", plan), "plan");
      if (passes(inputs.cluster, changed) > most) return std::nullopt;
      if (cluster.empty() && model.empty()) return program::refusals(inputs.model, inputs.cluster, changed);
      const Cluster machine = read_cluster(apply_settings(write_cluster(inputs.cluster), "cluster", cluster), "cluster");
      Model other = read_model(apply_settings(write_model(inputs.model), "model", model), "model");
      other.name = inputs.model.name;
      return program::refusals(other, machine, changed);
    } catch (const Error&) {
      return std::nullopt;
    }
  };
}

Judge judge_of(const PlanFlags& flags, const Inputs& inputs, const std::atomic<bool>* cancel) {
  return [&flags, &inputs, cancel, most = most_passes(inputs)](const std::vector<std::string>& settings) -> std::optional<Refusals> {
    if (cancel && *cancel) return std::nullopt;
    PlanFlags changed = flags;
    changed.settings.insert(changed.settings.end(), settings.begin(), settings.end());
    try {
      if (std::all_of(settings.begin(), settings.end(), of_the_plan)) {
        const Plan plan = plan_on(changed, inputs.model, inputs.cluster);
        if (passes(inputs.cluster, plan) > most) return std::nullopt;
        return program::refusals(inputs.model, inputs.cluster, plan);
      }
      changed.profile.clear();  // decides nothing of what is legal
      const Inputs in = load_inputs(changed);
      if (passes(in.cluster, in.plan) > most) return std::nullopt;
      return program::refusals(in.model, in.cluster, in.plan);
    } catch (const Error&) {
      return std::nullopt;
    }
  };
}

using Broken = std::set<std::pair<std::string, std::string>>;  // constraint, field
Broken broken(const Refusals& refusals) {
  Broken out;
  for (const Refusal& r : refusals) out.emplace(r.constraint, r.field);
  return out;
}

// --- What to try -------------------------------------------------------------------------------------------------------------------------------

void add_divisors(std::int64_t of, std::set<std::int64_t>& out) {
  for (std::int64_t n = 1; n * n <= of && n <= kMostDivisors; ++n) {
    if (of % n != 0) continue;
    out.insert(n);
    out.insert(of / n);
  }
}

// Multiples of `unit` around `near`, and those by doubling.
void add_multiples(std::int64_t unit, std::int64_t near, std::set<std::int64_t>& out) {
  if (unit < 1) return;
  const std::int64_t base = near / unit;
  for (std::int64_t k = std::max<std::int64_t>(1, base - 3); k <= base + 4; ++k) out.insert(k * unit);
  for (std::int64_t k = 1; k * unit <= 16 * std::max(near, unit) && k < (std::int64_t{1} << 40); k *= 2) out.insert(k * unit);
}

std::set<std::int64_t> whole_candidates(const Inputs& in, const std::string& path, std::int64_t present) {
  const Plan& plan = in.plan;
  const ParallelSpec& p = plan.parallel;
  const std::int64_t ranks = std::max<std::int64_t>(1, plan.model_ranks()), dp = std::max<std::int64_t>(1, in.cluster.devices / ranks);
  std::set<std::int64_t> out{present};
  const std::string name = path.substr(path.rfind('.') + 1);
  const bool axis = path.find("parallel.") != std::string::npos && path.find("data_parallel") == std::string::npos;
  if (axis && name == "vp") {
    for (std::int64_t n = 1; n <= std::min<std::int64_t>(32, std::max<std::int64_t>(2, in.model.layers / std::max<std::int64_t>(1, p.pp))); ++n)
      out.insert(n);
  } else if (axis || path == "sharding.replicas") {
    add_divisors(in.cluster.devices, out);
    add_divisors(std::gcd(in.model.heads, in.model.kv_heads), out);
    if (name == "ep" && in.model.moe) add_divisors(in.model.moe->experts, out);
    while (!out.empty() && *out.rbegin() > std::max(present, in.cluster.devices)) out.erase(std::prev(out.end()));
  } else if (path == "batch.micro") {
    for (std::int64_t n = 1; n <= 8; ++n) out.insert(n);
    for (std::int64_t n = 16; n <= 64; n *= 2) out.insert(n);
    add_divisors(plan.batch.global / dp, out);
  } else if (path == "batch.global") {
    const std::int64_t unit = std::max<std::int64_t>(1, plan.batch.micro) * dp;
    add_multiples(unit, present, out);
    add_multiples(unit * std::max<std::int64_t>(1, p.pp), present, out);
  } else if (path == "batch.sequence") {
    add_multiples(2 * std::max<std::int64_t>(1, p.cp * p.tp) * plan.schedule_args.splits.value_or(1), present, out);
    for (std::int64_t n = 256; n <= (1 << 20); n *= 2) out.insert(n);
    if (in.model.max_positions > 0) out.insert(in.model.max_positions);
  } else if (path == "cluster.devices") {
    add_multiples(in.cluster.node_size, present, out);
    add_multiples(std::lcm(ranks, in.cluster.node_size), present, out);
    add_multiples(ranks, present, out);
  } else if (path.starts_with("model.")) {
    if (present > (std::int64_t{1} << 50)) return out;  // whose multiples would not be counted in 64 bits
    for (const double share : {0.25, 0.5, 0.75, 1.5, 2.0, 4.0}) out.insert(std::llround(static_cast<double>(present) * share));
    add_multiples(std::max<std::int64_t>(1, p.tp), present, out);
  } else {
    for (std::int64_t n = 0; n <= 8; ++n) out.insert(n);
    for (std::int64_t n = 16; n <= 64; n *= 2) out.insert(n);
    add_multiples(std::max<std::int64_t>(1, p.pp), std::min<std::int64_t>(present, 1 << 20), out);
    add_multiples(1, std::min<std::int64_t>(present, 1 << 20), out);
  }
  return out;
}

bool within(const Field& field, double value) {
  return !(field.least && value < *field.least) && !(field.most && (field.below ? value >= *field.most : value > *field.most));
}

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Of what 64 bits hold; seeds may be larger.
std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "use sp true, or tp 2 or more" in words; dots stay within a word, as in a path.
std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> out(1);
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.')
      out.back() += c;
    else if (!out.back().empty())
      out.emplace_back();
  }
  for (std::string& word : out)
    while (!word.empty() && word.back() == '.') word.pop_back();
  std::erase(out, "");
  return out;
}

// Values of a field other than its present one, the nearest first. `said`: words of a refusal, among which there may be values.
std::vector<std::string> candidates(const Inputs& in, const Field& field, const std::vector<std::string>& said) {
  std::vector<std::string> out;
  const auto add = [&](const std::string& value) {
    if (value != field.value && std::find(out.begin(), out.end(), value) == out.end()) out.push_back(value);
  };
  switch (field.kind) {
    case FieldKind::yes_no:
      add("true");
      add("false");
      break;
    case FieldKind::choice:
      if (field.fallback) add(*field.fallback);
      for (const std::string& word : said)
        if (std::find(field.choices.begin(), field.choices.end(), word) != field.choices.end()) add(word);
      for (const std::string& choice : field.choices) add(choice);
      break;
    case FieldKind::whole: {
      const std::optional<std::int64_t> given = field.value == "null" ? 1 : whole_number(field.value);
      if (!given) break;
      const std::int64_t present = *given;
      std::set<std::int64_t> values = whole_candidates(in, field.path, present);
      for (const std::string& word : said)
        if (const std::optional<double> n = number(word); n && *n == std::floor(*n) && std::abs(*n) < 1e12)
          values.insert(static_cast<std::int64_t>(*n));
      if (field.fallback)
        if (const std::optional<std::int64_t> n = whole_number(*field.fallback)) values.insert(*n);
      std::vector<std::int64_t> sorted;
      for (const std::int64_t n : values)
        if (within(field, static_cast<double>(n))) sorted.push_back(n);
      const auto distance = [&](std::int64_t n) {  // by ratio, and upwards where both are as near
        return std::abs(std::log(static_cast<double>(n) + 0.5) - std::log(static_cast<double>(present) + 0.5));
      };
      std::stable_sort(sorted.begin(), sorted.end(), [&](std::int64_t a, std::int64_t b) { return distance(a) < distance(b); });
      if (field.nullable && field.fallback == "null") add("null");
      for (const std::int64_t n : sorted) add(fmt::format("{}", n));
      break;
    }
    case FieldKind::number:
      if (field.fallback) add(*field.fallback);
      for (const std::string& word : said)
        if (const std::optional<double> n = number(word); n && within(field, *n)) add(word);
      break;
    case FieldKind::list:
      if (!field.nullable) add("[]");
      break;
    case FieldKind::text:
    case FieldKind::quantity:
      if (field.fallback) add(*field.fallback);
      break;
    case FieldKind::object:
      break;
  }
  if (field.nullable) add("null");
  return out;
}

// The same of a field that a refusal only speaks of: a few, what it says and the default first.
std::vector<std::string> few_candidates(const Inputs& in, const Field& field, const std::vector<std::string>& said) {
  std::vector<std::string> out = candidates(in, field, said);
  std::stable_partition(out.begin(), out.end(), [&](const std::string& value) {
    return value == field.fallback || (field.kind == FieldKind::whole && std::find(said.begin(), said.end(), value) != said.end());
  });
  if (out.size() > kMostOfTied) out.resize(kMostOfTied);
  return out;
}

// --- Mends -------------------------------------------------------------------------------------------------------------------------------------

// The fields that a refusal is about, its own first.
std::vector<const Field*> tied(const std::vector<EditableField>& all, const std::string& own, const std::vector<std::string>& said) {
  std::vector<const Field*> out;
  const auto add = [&](const Field* field) {
    if (field != nullptr && std::find(out.begin(), out.end(), field) == out.end()) out.push_back(field);
  };
  const auto add_path = [&](const std::string& path) {
    if (const EditableField* f = find_field(all, path)) add(&f->field);
  };
  add_path(own);
  const bool group = out.empty();
  if (own == "parallel") {
    for (const char* axis : {"parallel.tp", "parallel.pp", "parallel.cp"}) add_path(axis);
  } else if (group && !own.empty()) {
    for (const EditableField& f : all)
      if (f.field.path.starts_with(own + ".")) add(&f.field);
  }
  for (const std::string& word : said) add_path(word);
  for (const std::string& word : said)
    for (const EditableField& f : all)  // "sp" speaks of parallel.sp, "devices" of cluster.devices
      if (f.document != DocumentKind::model && f.field.path.ends_with("." + word) && !f.field.path.starts_with("cluster.device.") &&
          !f.field.path.starts_with("cluster.levels."))
        add(&f.field);
  const auto says = [&](const char* word) { return std::find(said.begin(), said.end(), word) != said.end(); };
  if (says("stages") || says("chunks")) add_path("parallel.pp"), add_path("parallel.vp");
  if (says("batches") || says("micro")) add_path("batch.global"), add_path("batch.micro");
  if (says("dp") || own == "parallel") add_path("cluster.devices");
  return out;
}

std::string in_words(const std::vector<std::string>& settings) {
  std::string out;
  for (const std::string& s : settings) {
    const std::size_t equals = s.find('=');
    out += fmt::format("{}{} = {}", out.empty() ? "" : ", ", s.substr(0, equals), s.substr(equals + 1));
  }
  return out;
}

// What a change of another field could be: of those that the refusal speaks of, not of `keep`.
std::vector<std::string> company(const Inputs& inputs, const std::vector<EditableField>& all, const Refusal& refusal,
                                 const std::vector<std::string>& keep) {
  const std::vector<std::string> said = words_of(refusal.hint + " " + refusal.reason + " " + refusal.constraint);
  std::vector<std::string> out;
  for (const Field* other : tied(all, refusal.field, said)) {
    if (!of_the_plan(other->path) || std::find(keep.begin(), keep.end(), other->path) != keep.end()) continue;
    for (const std::string& value : few_candidates(inputs, *other, said)) out.push_back(other->path + "=" + value);
  }
  return out;
}

// `own`, `said`: the field and the words of what is to go. `leaves`: the first refusal that a change leaves of it or brings, and should not; null:
// none.
std::vector<Mend> search(const Inputs& inputs, const std::string& own, const std::vector<std::string>& said, const Judge& judge,
                         const std::function<const Refusal*(const Refusals&)>& leaves) {
  const std::vector<EditableField> all = fields(inputs);
  const std::vector<const Field*> about = tied(all, own, said);
  std::vector<Mend> found;
  std::vector<std::pair<std::string, Refusal>> nearly;  // changes of the field itself that bring something else
  const auto attempt = [&](std::vector<std::string> settings, bool remember) {
    const std::optional<Refusals> after = judge(settings);
    if (!after) return false;
    if (const Refusal* refusal = leaves(*after)) {
      if (remember && refusal->field != own) nearly.emplace_back(settings.front(), *refusal);
      return false;
    }
    std::string words = in_words(settings);
    found.push_back({std::move(settings), std::move(words), after->empty()});
    return true;
  };
  for (std::size_t i = 0; i < about.size(); ++i) {
    const bool axes = own == "parallel", itself = i == 0 || (axes && i < 3);
    const std::vector<std::string> values = itself ? candidates(inputs, *about[i], said) : few_candidates(inputs, *about[i], said);
    std::size_t wanted = itself && !axes ? 2 : 1;
    for (const std::string& value : values) {
      if (wanted == 0) break;
      if (attempt({about[i]->path + "=" + value}, itself)) --wanted;
    }
  }
  std::size_t tried = 0;
  for (const auto& [first, refusal] : nearly) {  // two fields at once, where one does not do
    if (!found.empty()) break;
    for (const std::string& second : company(inputs, all, refusal, {first.substr(0, first.find('='))}))
      if (tried++ >= kMostPairs || attempt({first, second}, false)) break;
  }
  std::stable_sort(found.begin(), found.end(), [](const Mend& a, const Mend& b) { return a.legal > b.legal; });
  if (found.size() > kMostMends) found.resize(kMostMends);
  return found;
}

std::vector<Mend> mends_of(const Inputs& inputs, const Refusal& refusal, const Judge& judge) {
  const std::optional<Refusals> now = judge({});
  const Broken before = now ? broken(*now) : Broken{};
  const std::vector<std::string> said = words_of(refusal.hint + " " + refusal.reason + " " + refusal.constraint);
  return search(inputs, refusal.field, said, judge, [&](const Refusals& after) -> const Refusal* {
    const auto left = std::find_if(after.begin(), after.end(), [&](const Refusal& r) {
      return (r.constraint == refusal.constraint && r.field == refusal.field) || before.count({r.constraint, r.field}) == 0;
    });
    return left == after.end() ? nullptr : &*left;
  });
}

// --- Legal values ------------------------------------------------------------------------------------------------------------------------------

bool before(const std::string& a, const std::string& b) {
  if ((a == "null") != (b == "null")) return b == "null";
  const std::optional<double> x = number(a), y = number(b);
  return x && y && *x < *y;
}

std::vector<LegalValue> legal_of(const Inputs& inputs, const std::string& path, const LegalOptions& options, const Judge& judge) {
  const std::vector<EditableField> all = fields(inputs);
  const EditableField* editable = find_field(all, path);
  if (editable == nullptr) return {};
  const Field& field = editable->field;
  if (field.kind != FieldKind::whole && field.kind != FieldKind::choice && field.kind != FieldKind::yes_no) return {};
  std::vector<std::string> values = candidates(inputs, field, {});
  values.push_back(field.value);
  if (field.kind == FieldKind::whole) {
    std::sort(values.begin(), values.end(), before);
  } else {  // as the table has them
    std::vector<std::string> in_order = field.kind == FieldKind::yes_no ? std::vector<std::string>{"false", "true"} : field.choices;
    if (field.nullable) in_order.emplace_back("null");
    values = std::move(in_order);
  }

  // What is refused whatever the field says is not its fault.
  std::vector<std::optional<Refusals>> after;
  std::optional<Broken> always;
  for (const std::string& value : values) {
    after.push_back(judge({field.path + "=" + value}));
    if (!after.back()) continue;
    const Broken here = broken(*after.back());
    if (!always) {
      always = here;
    } else {
      std::erase_if(*always, [&](const auto& b) { return here.count(b) == 0; });
    }
  }
  if (!always) return {};
  const auto fine = [&](const Refusals& refusals) {
    return std::all_of(refusals.begin(), refusals.end(), [&](const Refusal& r) { return always->count({r.constraint, r.field}) == 1; });
  };

  std::vector<LegalValue> out;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!after[i]) continue;
    const std::string own = field.path + "=" + values[i];
    if (fine(*after[i])) {
      out.push_back({values[i], {own}});
      continue;
    }
    if (!options.with_company) continue;
    const auto blamed = std::find_if(after[i]->begin(), after[i]->end(), [&](const Refusal& r) {
      return always->count({r.constraint, r.field}) == 0;
    });
    std::vector<std::string> keep = options.keep;
    keep.push_back(field.path);
    for (const std::string& other : company(inputs, all, *blamed, keep)) {
      const std::optional<Refusals> both = judge({own, other});
      if (!both || !fine(*both)) continue;
      out.push_back({values[i], {own, other}});
      break;
    }
  }
  return out;
}

}  // namespace

std::vector<Mend> mends(const Inputs& inputs, const Refusal& refusal) { return mends_of(inputs, refusal, judge_of(inputs)); }

std::vector<Mend> mends(const PlanFlags& flags, const Inputs& inputs, const Refusal& refusal, const std::atomic<bool>* cancel) {
  return mends_of(inputs, refusal, judge_of(flags, inputs, cancel));
}

std::vector<Mend> mends(const PlanFlags& flags, const Inputs& inputs, const Error& error, const std::atomic<bool>* cancel) {
  // The flag or setting, and the fields: "--tp (parallel.tp)", "--set batch.micro", "plan.json: batch.global".
  std::vector<std::string> said = words_of(error.where() + " " + error.hint() + " " + error.message());
  const std::vector<EditableField> all = fields(inputs);
  std::string own;
  for (const std::string& word : words_of(error.where()))
    if (find_field(all, word) != nullptr) own = word;
  for (const Given& given : inputs.given)
    if (own.empty() && given.where == error.where()) own = given.path;
  const Judge judge = judge_of(flags, inputs, cancel);
  return search(inputs, own, said, judge, [](const Refusals&) { return nullptr; });
}

std::vector<LegalValue> legal_values(const Inputs& inputs, const std::string& path, const LegalOptions& options) {
  return legal_of(inputs, path, options, judge_of(inputs, options.cancel));
}

std::vector<LegalValue> legal_values(const PlanFlags& flags, const Inputs& inputs, const std::string& path, const LegalOptions& options) {
  return legal_of(inputs, path, options, judge_of(flags, inputs, options.cancel));
}

}  // namespace orrery::app

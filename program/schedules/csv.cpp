#include "program/schedules/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <set>
#include <tuple>

#include "core/error.h"
#include "program/schedules/emit.h"
#include "program/schedules/replay.h"

namespace orrery::program {
namespace {

enum class Type : std::uint8_t { forward, backward, input_grad, weight_grad, send_f, recv_f, send_b, recv_b, unshard, reshard, reduce_grad };
const std::vector<std::string>& type_names() {
  static const std::vector<std::string> kNames{"F", "B", "I", "W", "SEND_F", "RECV_F", "SEND_B", "RECV_B", "UNSHARD", "RESHARD", "REDUCE_GRAD"};
  return kNames;
}
bool is_pass(Type type) { return type <= Type::weight_grad; }
bool has_microbatch(Type type) { return type < Type::unshard; }
PassKind kind(Type type) { return static_cast<PassKind>(type); }
static_assert(static_cast<int>(Type::weight_grad) == static_cast<int>(PassKind::weight_grad));

struct Action {
  Type type = Type::forward;
  std::int64_t stage = 0, microbatch = 0;
};
std::string text_of(const Action& a) {
  const std::string& type = type_names()[static_cast<std::size_t>(a.type)];
  return has_microbatch(a.type) ? fmt::format("{}{}{}", a.stage, type, a.microbatch) : fmt::format("{}{}", a.stage, type);
}

// One cell: an action, or the two of an overlapped pair.
struct Cell {
  std::size_t line = 0, number = 0;  // from 1
  Action first;
  std::optional<Action> second;
};

constexpr std::int64_t kMostNumber = std::numeric_limits<std::uint16_t>::max() - 1;  // PassInstance::microbatch; stages alike

class Reader {
 public:
  Reader(std::string_view text, const std::string& file) : text_(text), file_(file) {}

  Schedule read() {
    split();
    place_stages();
    Schedule out = schedule();
    refuse_what_is_missing(out);
    for (std::size_t r = 0; r < rows_.size(); ++r) check_rank(static_cast<std::int64_t>(r));
    check_messages();
    return out;
  }

 private:
  std::string at(std::size_t line, std::size_t cell) const { return fmt::format("{}:{}:{}", file_, line, cell); }
  [[noreturn]] void fail(const Cell& cell, const std::string& what, const std::string& hint = {}) const {
    throw Error(at(cell.line, cell.number), what, hint);
  }

  // --- Text to cells.

  void split() {
    if (text_.empty()) throw Error(file_, "is empty", "one line per rank, e.g. 0F0,0F1,0B0,0B1");
    std::string_view rest = text_;
    while (!rest.empty()) {
      const auto end = std::min(rest.find('\n'), rest.size());
      std::string_view line = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
      std::vector<Cell>& row = rows_.emplace_back();
      for (std::size_t number = 1;; ++number) {
        const auto comma = line.find(',');
        std::string_view cell = line.substr(0, comma);
        while (!cell.empty() && cell.front() == ' ') cell.remove_prefix(1);
        while (!cell.empty() && cell.back() == ' ') cell.remove_suffix(1);
        if (cell.size() >= 2 && cell.front() == '"' && cell.back() == '"') cell = cell.substr(1, cell.size() - 2);
        if (!cell.empty()) {
          row.push_back(parse(cell, rows_.size(), number));
          const Type type = row.back().first.type;
          sends_ = sends_ || (type >= Type::send_f && type <= Type::recv_b);
          shards_ = shards_ || type == Type::unshard || type == Type::reshard;
          reduces_ = reduces_ || type == Type::reduce_grad;
        }
        if (comma == std::string_view::npos) break;
        line.remove_prefix(comma + 1);
      }
      if (std::none_of(row.begin(), row.end(), [](const Cell& cell) { return is_pass(cell.first.type); }))
        throw Error(fmt::format("{}:{}", file_, rows_.size()), "has no passes: every rank has at least one stage", "one line per rank");
    }
    if (rows_.size() > static_cast<std::size_t>(kMostNumber)) throw Error(file_, fmt::format("has {} lines: too many ranks", rows_.size()));
  }

  Cell parse(std::string_view text, std::size_t line, std::size_t number) const {
    Cell cell{line, number, {}, {}};
    if (text.front() != '(') {
      cell.first = action(text, cell);
      return cell;
    }
    static const std::string kHow = "write an overlapped pair like (7F4;0B0)OVERLAP_F_B";
    const auto close = text.find(')'), semicolon = text.find(';');
    if (close == std::string_view::npos) fail(cell, fmt::format("'{}' has no closing bracket", text), kHow);
    if (text.substr(close + 1) != "OVERLAP_F_B") fail(cell, fmt::format("'{}' is not what a pair can be", text.substr(close + 1)), kHow);
    if (semicolon > close) fail(cell, fmt::format("'{}' is not a pair", text), kHow);
    cell.first = action(text.substr(1, semicolon - 1), cell);
    cell.second = action(text.substr(semicolon + 1, close - semicolon - 1), cell);
    if (cell.first.type != Type::forward || cell.second->type != Type::backward)
      fail(cell, "overlaps other passes than a forward and a whole backward, in this order", kHow);
    return cell;
  }

  Action action(std::string_view text, const Cell& cell) const {
    const auto digits = [](std::string_view t) { return std::min(t.find_first_not_of("0123456789"), t.size()); };
    const std::size_t before = digits(text);
    std::string_view type = text.substr(before);
    const std::size_t length = std::min(type.find_first_of("0123456789"), type.size());
    const std::string_view after = type.substr(length);
    type = type.substr(0, length);
    const auto& names = type_names();
    const auto found = std::find(names.begin(), names.end(), type);
    static const std::string kHow = "write stage, type and micro-batch, e.g. 2F4";
    if (before == 0 || type.empty() || digits(after) != after.size()) fail(cell, fmt::format("'{}' is not an action", text), kHow);
    if (found == names.end()) fail(cell, fmt::format("'{}': '{}' is not a type of action", text, type), did_you_mean(type, names));
    Action out;
    out.type = static_cast<Type>(found - names.begin());
    out.stage = number(text.substr(0, before), cell);
    if (has_microbatch(out.type) == after.empty())
      fail(cell,
           after.empty() ? fmt::format("'{}' names no micro-batch", text) : fmt::format("'{}': {} is of a stage, not of a micro-batch", text, type),
           after.empty() ? kHow : fmt::format("write {}{}", text.substr(0, before), type));
    if (!after.empty()) out.microbatch = number(after, cell);
    return out;
  }

  std::int64_t number(std::string_view digits, const Cell& cell) const {
    std::int64_t value = 0;
    for (const char c : digits) {
      value = value * 10 + (c - '0');
      if (value > kMostNumber) fail(cell, fmt::format("{} is more than {}", digits, kMostNumber));
    }
    return value;
  }

  template <class Visit>
  static void for_each_action(const Cell& cell, Visit visit) {
    visit(cell.first);
    if (cell.second) visit(*cell.second);
  }

  // --- Which rank has which stage.

  void place_stages() {
    std::map<std::int64_t, const Cell*> first;
    for (const auto& row : rows_)
      for (const Cell& cell : row)
        for_each_action(cell, [&](const Action& a) {
          if (!is_pass(a.type)) return;
          microbatches_ = std::max(microbatches_, a.microbatch + 1);
          const auto [entry, fresh] = first.try_emplace(a.stage, &cell);
          if (entry->second->line != cell.line)
            fail(cell,
                 fmt::format("stage {} is rank {}'s here and rank {}'s in line {}", a.stage, cell.line - 1, entry->second->line - 1,
                             entry->second->line),
                 "every stage is on one rank");
        });
    const auto p = static_cast<std::int64_t>(rows_.size());
    stages_ = first.rbegin()->first + 1;
    for (std::int64_t s = 0; s < stages_; ++s)
      if (!first.contains(s)) throw Error("schedule", fmt::format("no rank runs stage {}, and there is a stage {}", s, stages_ - 1));
    if (stages_ % p != 0)
      throw Error("schedule", fmt::format("{} stages on {} ranks: some ranks have more than others", stages_, p), "every rank has as many stages");
    chunks_ = stages_ / p;
    const auto placed = [&](Placement placement) {
      return std::find_if(first.begin(), first.end(), [&](const auto& entry) {
        return home(placement, p, entry.first, 0).rank != static_cast<std::int64_t>(entry.second->line) - 1;
      });
    };
    if (placed(Placement::loop) == first.end()) return;
    placement_ = Placement::vee;
    if (chunks_ == 2 && placed(Placement::vee) == first.end()) return;
    const auto& [stage, cell] = *placed(Placement::loop);
    fail(*cell, fmt::format("stage {} is on rank {}", stage, cell->line - 1),
         fmt::format("built are stages in turn, which puts it on rank {}, and two on each rank in a vee (stage s, and stage {} - s)", stage % p,
                     2 * p - 1));
  }
  std::int64_t rank_of(std::int64_t stage) const { return home(placement_, static_cast<std::int64_t>(rows_.size()), stage, 0).rank; }

  // --- The schedule.

  Schedule schedule() const {
    ScheduleInput input;
    input.ranks = static_cast<std::int64_t>(rows_.size()), input.microbatches = microbatches_;
    Schedule out = empty_schedule(input, placement_, chunks_);
    out.name = "csv";
    for (std::size_t r = 0; r < rows_.size(); ++r)
      for (const Cell& cell : rows_[r]) {
        if (!is_pass(cell.first.type)) continue;
        const auto chunk = [&](const Action& a) { return home(placement_, input.ranks, a.stage, 0).chunk; };
        Pass pass = program::pass(kind(cell.first.type), cell.first.microbatch, chunk(cell.first));
        if (cell.second) {
          pass.kind = PassKind::forward_backward;
          pass.backward_chunk = chunk(*cell.second);
          pass.backward_microbatch = static_cast<std::int32_t>(cell.second->microbatch);
        }
        out.order[r].push_back(pass);
      }
    return out;
  }

  // A file of few cells may name many stages and micro-batches: nothing of their product may be made before it is known to be there.
  void refuse_what_is_missing(const Schedule& s) const {
    std::set<std::pair<std::int64_t, std::int64_t>> forwards;  // micro-batch, stage
    for (const auto& row : rows_)
      for (const Cell& cell : row)
        if (cell.first.type == Type::forward) forwards.emplace(cell.first.microbatch, cell.first.stage);
    auto next = forwards.begin();
    for (std::int64_t i = 0; i < microbatches_; ++i)
      for (std::int64_t stage = 0; stage < stages_; ++stage, ++next)
        if (next == forwards.end() || *next != std::pair{i, stage}) {
          const Home at = home(s, stage, 0, i);
          throw Error("schedule", fmt::format("rank {} never runs the {}", at.rank, in_words(s, forward(i, at.chunk))));
        }
  }

  // --- Communication and data-parallel actions.

  struct Message {
    Action action;  // the pass that made what is sent
    const Cell* cell = nullptr;
  };
  using Key = std::tuple<Type, std::int64_t, std::int64_t>;
  static Key key(Type type, std::int64_t stage, std::int64_t microbatch) { return {type, stage, microbatch}; }

  void check_rank(std::int64_t rank) {
    const std::vector<Cell>& row = rows_[static_cast<std::size_t>(rank)];
    std::map<Key, const Cell*> done;                         // passes (a backward and an input_grad alike) and messages so far
    std::set<std::int64_t> whole;                            // stages whose parameters are there
    std::map<std::int64_t, const Cell*> reduced, last_grad;  // by stage
    for (const Cell& cell : row)
      for_each_action(cell, [&](const Action& a) {
        if (is_pass(a.type)) {
          if (shards_ && !whole.contains(a.stage))
            fail(cell, fmt::format("{} needs the parameters of stage {}, which are not there", text_of(a), a.stage),
                 fmt::format("put {}UNSHARD before it", a.stage));
          if (a.type == Type::backward || a.type == Type::weight_grad) last_grad[a.stage] = &cell;
          const bool forward = a.type == Type::forward;
          if (a.type == Type::weight_grad) return;
          const std::int64_t from = a.stage + (forward ? -1 : 1);
          const Action receive{forward ? Type::recv_f : Type::recv_b, a.stage, a.microbatch};
          if (sends_ && from >= 0 && from < stages_ && rank_of(from) != rank && !done.contains(key(receive.type, a.stage, a.microbatch)))
            fail(cell, fmt::format("{} has not received what it needs", text_of(a)), fmt::format("put {} before it", text_of(receive)));
          done.emplace(key(forward ? Type::forward : Type::backward, a.stage, a.microbatch), &cell);
          return;
        }
        if (a.stage >= stages_ || rank_of(a.stage) != rank) fail(cell, fmt::format("{}: rank {} has no stage {}", text_of(a), rank, a.stage));
        switch (a.type) {
          case Type::unshard:
            if (!whole.insert(a.stage).second) fail(cell, fmt::format("{}: the parameters are there already", text_of(a)));
            break;
          case Type::reshard:
            if (whole.erase(a.stage) == 0) fail(cell, fmt::format("{}: the parameters are not there", text_of(a)));
            break;
          case Type::reduce_grad:
            if (!reduced.emplace(a.stage, &cell).second) fail(cell, fmt::format("{} comes twice", text_of(a)));
            break;
          default:
            message(rank, a, cell, done);
        }
      });
    for (const auto& [stage, cell] : last_grad) {
      const auto at = reduced.find(stage);
      if (reduces_ && at == reduced.end())
        throw Error(fmt::format("{}:{}", file_, rank + 1), fmt::format("the gradients of stage {} are never reduced", stage),
                    fmt::format("put {}REDUCE_GRAD after its last backward", stage));
      if (reduces_ && at->second->number < cell->number)
        fail(*at->second, fmt::format("{}REDUCE_GRAD comes before the last backward of stage {}, in cell {}", stage, stage, cell->number));
    }
    if (!sends_) return;
    for (const auto& [what, cell] : done) {
      const auto& [type, stage, microbatch] = what;
      if (!is_pass(type)) continue;
      const std::int64_t to = stage + (type == Type::forward ? 1 : -1);
      const Action send{type == Type::forward ? Type::send_f : Type::send_b, stage, microbatch};
      if (to >= 0 && to < stages_ && rank_of(to) != rank && !done.contains(key(send.type, stage, microbatch)))
        fail(*cell, "what it makes is never sent to rank " + std::to_string(rank_of(to)), fmt::format("put {} after it", text_of(send)));
    }
  }

  void message(std::int64_t rank, const Action& a, const Cell& cell, std::map<Key, const Cell*>& done) {
    const bool forward = a.type == Type::send_f || a.type == Type::recv_f, send = a.type == Type::send_f || a.type == Type::send_b;
    const std::int64_t other = a.stage + (forward == send ? 1 : -1);
    const auto pass = [&](std::int64_t stage) { return Action{forward ? Type::forward : Type::backward, stage, a.microbatch}; };
    if (a.microbatch >= microbatches_) fail(cell, fmt::format("{}: there are {} micro-batches", text_of(a), microbatches_));
    if (other < 0 || other >= stages_) fail(cell, fmt::format("{}: there is no stage {}", text_of(a), other));
    if (rank_of(other) == rank) fail(cell, fmt::format("{}: stage {} is on this rank too", text_of(a), other), "leave it out");
    if (!done.emplace(key(a.type, a.stage, a.microbatch), &cell).second) fail(cell, fmt::format("{} comes twice", text_of(a)));
    const bool ran = done.contains(key(pass(0).type, a.stage, a.microbatch));
    if (send && !ran) fail(cell, fmt::format("{} comes before the pass that makes what it sends", text_of(a)));
    if (!send && ran) fail(cell, fmt::format("{} comes after the pass that needs what it receives", text_of(a)));
    auto& list = send ? sent_[{rank, rank_of(other)}] : received_[{rank_of(other), rank}];
    list.push_back({pass(send ? a.stage : other), &cell});
  }

  // The k-th message from one rank to another is the k-th that the other receives from it.
  void check_messages() const {
    for (const auto& [pair, sends] : sent_) {
      const auto found = received_.find(pair);
      const std::vector<Message> none;
      const auto& receives = found == received_.end() ? none : found->second;
      for (std::size_t k = 0; k < sends.size(); ++k) {
        const Action &out = sends[k].action, in = k < receives.size() ? receives[k].action : Action{};
        const Cell& cell = *sends[k].cell;
        if (k >= receives.size()) fail(cell, fmt::format("rank {} never receives this", pair.second));
        if (std::tie(out.type, out.stage, out.microbatch) != std::tie(in.type, in.stage, in.microbatch))
          fail(*receives[k].cell,
               fmt::format("receives the result of {} as message {} from rank {}, which sends that of {} ({}:{}:{})", text_of(in), k + 1, pair.first,
                           text_of(out), file_, cell.line, cell.number),
               "both ends name their messages in the same order");
      }
      if (receives.size() > sends.size()) fail(*receives[sends.size()].cell, fmt::format("rank {} never sends this", pair.first));
    }
    for (const auto& [pair, receives] : received_)
      if (!sent_.contains(pair)) fail(*receives.front().cell, fmt::format("rank {} never sends this", pair.first));
  }

  std::string_view text_;
  const std::string& file_;
  std::vector<std::vector<Cell>> rows_;  // by rank
  std::int64_t microbatches_ = 0, stages_ = 0, chunks_ = 1;
  bool sends_ = false, shards_ = false, reduces_ = false;  // whether the file has any such action
  Placement placement_ = Placement::loop;
  std::map<std::pair<std::int64_t, std::int64_t>, std::vector<Message>> sent_, received_;  // by sender and receiver, in their order
};

// --- Writing.

Action action_of(const Schedule& s, std::size_t rank, const Pass& half) {
  return {static_cast<Type>(half.kind), stage_of(s, static_cast<std::int64_t>(rank), half.chunk), half.microbatch};
}

std::string text_of(const Schedule& s, std::size_t rank, const Pass& pass) {
  if (pass.kind != PassKind::forward_backward) return text_of(action_of(s, rank, pass));
  return fmt::format("({};{})OVERLAP_F_B", text_of(action_of(s, rank, forward_half(pass))), text_of(action_of(s, rank, backward_half(pass))));
}

// The stages of the next passes from `k` on, up to three, each once; an overlapped pair has two.
std::vector<std::int64_t> next_stages(const Schedule& s, std::size_t rank, std::size_t k) {
  constexpr std::size_t kAhead = 3;
  std::vector<std::int64_t> out;
  const auto& order = s.order[rank];
  const auto most = std::min<std::size_t>(kAhead, static_cast<std::size_t>(s.chunks));
  for (; k < order.size() && out.size() < most; ++k)
    for_each_half(order[k], [&](const Pass& half) {
      const std::int64_t stage = stage_of(s, static_cast<std::int64_t>(rank), half.chunk);
      if (std::find(out.begin(), out.end(), stage) == out.end()) out.push_back(stage);
    });
  return out;
}

std::string joined(const std::vector<std::vector<std::string>>& rows) {
  std::string out;
  for (const auto& row : rows) out += fmt::format("{}\n", fmt::join(row, ","));
  return out;
}

std::string full_form(const Schedule& s, const std::vector<std::vector<std::int64_t>>& steps) {
  const std::size_t ranks = s.order.size();
  std::vector<std::vector<std::string>> rows(ranks);
  std::vector<std::vector<std::int64_t>> whole(ranks);                     // stages whose parameters are there
  std::vector<std::map<std::int64_t, std::size_t>> last_gradient(ranks);   // by stage, the pass that completes its gradients
  std::vector<std::tuple<std::int64_t, std::size_t, std::size_t>> passes;  // step, rank, index
  for (std::size_t r = 0; r < ranks; ++r)
    for (std::size_t k = 0; k < s.order[r].size(); ++k) {
      passes.emplace_back(steps[r][k], r, k);
      for_each_half(s.order[r][k], [&](const Pass& half) {
        if (half.kind == PassKind::backward || half.kind == PassKind::weight_grad) last_gradient[r][action_of(s, r, half).stage] = k;
      });
    }
  std::sort(passes.begin(), passes.end());
  // Whoever sends puts the receive into the other's line at once: both ends have their messages in the same order.
  for (const auto& [step, r, k] : passes) {
    const Pass& pass = s.order[r][k];
    const std::vector<std::int64_t> next = next_stages(s, r, k);
    std::erase_if(whole[r], [&, rank = r](std::int64_t stage) {
      if (std::find(next.begin(), next.end(), stage) != next.end()) return false;
      rows[rank].push_back(text_of(Action{Type::reshard, stage, 0}));
      return true;
    });
    for (const std::int64_t stage : next)
      if (std::find(whole[r].begin(), whole[r].end(), stage) == whole[r].end()) {
        whole[r].push_back(stage);
        rows[r].push_back(text_of(Action{Type::unshard, stage, 0}));
      }
    rows[r].push_back(text_of(s, r, pass));
    for_each_half(pass, [&, rank = r](const Pass& half) {
      if (half.kind == PassKind::weight_grad) return;
      const Action a = action_of(s, rank, half);
      const bool forward = half.kind == PassKind::forward;
      const std::int64_t to = a.stage + (forward ? 1 : -1);
      if (to < 0 || to >= stages(s)) return;
      const auto other = static_cast<std::size_t>(home(s, to, 0, a.microbatch).rank);
      if (other == rank) return;
      rows[rank].push_back(text_of(Action{forward ? Type::send_f : Type::send_b, a.stage, a.microbatch}));
      rows[other].push_back(text_of(Action{forward ? Type::recv_f : Type::recv_b, to, a.microbatch}));
    });
    for (const auto& [stage, last] : last_gradient[r])
      if (last == k) rows[r].push_back(text_of(Action{Type::reduce_grad, stage, 0}));
  }
  for (std::size_t r = 0; r < ranks; ++r)
    for (const std::int64_t stage : whole[r]) rows[r].push_back(text_of(Action{Type::reshard, stage, 0}));
  return joined(rows);
}

}  // namespace

Schedule read_schedule_csv(std::string_view text, const std::string& file) { return Reader(text, file).read(); }

std::string write_schedule_csv(const Schedule& s, CsvForm form) {
  const auto refuse = [&](const char* what) {
    throw Error("schedule", fmt::format("schedule '{}' has {}, and PyTorch's CSV has no words for that", s.name, what));
  };
  if (s.placement == Placement::mirrored) refuse("each stage on two ranks");
  if (s.splits > 1) refuse("sequence splits");
  if (!s.versions.empty()) refuse("several weight versions");
  if (!s.replicas.empty()) refuse("replicated stages");
  const auto steps = step_grid(s);
  if (form == CsvForm::full) return full_form(s, steps);
  std::vector<std::vector<std::string>> rows(s.order.size());
  for (std::size_t r = 0; r < rows.size(); ++r)
    for (std::size_t k = 0; k < s.order[r].size(); ++k) {
      rows[r].resize(static_cast<std::size_t>(steps[r][k]));
      rows[r].push_back(text_of(s, r, s.order[r][k]));
    }
  return joined(rows);
}

}  // namespace orrery::program

#include "gui/view/passes.h"

#include <algorithm>

namespace orrery::view {

namespace {

// Bits for how an operator's name says which way it goes.
enum : std::uint8_t { kForward = 1, kBackward = 2, kWeights = 4, kUpdate = 8 };
std::uint8_t direction(const SpanKind& kind) {
  if (kind.work == WorkClass::control || is_communication(kind.work)) return 0;
  if (kind.work == WorkClass::optimizer) return kUpdate;
  const std::string_view name = kind.name;
  if (name.find("weight_grad") != std::string_view::npos) return kWeights;
  if (name.find("_grad") != std::string_view::npos || name.find("_backward") != std::string_view::npos) return kBackward;
  return name.find("_forward") != std::string_view::npos ? kForward : 0;
}

PassKind pass_kind(const std::array<std::int64_t, 4>& time) {
  const auto [forward, backward, weights, update] = time;
  const std::int64_t back = backward + weights;
  if (update > forward + back) return PassKind::update;
  if (forward + back == 0) return PassKind::other;
  if (forward > 8 * back) return PassKind::forward;  // the last stage's forward pass may begin the loss's backward one
  if (back > 8 * forward) return weights > 8 * backward ? PassKind::weights : PassKind::backward;
  return PassKind::both;
}

}  // namespace

std::string_view letter(PassKind kind) {
  constexpr std::array<std::string_view, 6> kLetters{"F", "B", "W", "F+B", "update", ""};
  return kLetters[static_cast<std::size_t>(kind)];
}

PassFinder::PassFinder(const Timeline& timeline) {
  for (const SpanKind& kind : timeline.kinds) {
    ways_.push_back(direction(kind));
    works_.push_back(kind.work != WorkClass::control ? 1 : 0);
  }
}

void PassFinder::close() {
  if (!open_) return;
  pass_.kind = pass_kind(time_);
  found_.push_back(pass_);
  open_ = false;
}

void PassFinder::open(const Span& span, TimeRange range) {
  close();
  pass_ = {range, span.pass, 0xffff, PassKind::other};
  time_ = {};
  open_ = true;
}

void PassFinder::finish(std::vector<Pass>& out) {
  close();
  out.insert(out.end(), found_.begin(), found_.end());
  found_.clear();
}

}  // namespace orrery::view

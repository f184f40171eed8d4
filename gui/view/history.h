// What was, what is, and what was undone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace orrery::view {

// A value with its past and, after an undo, its future. T is copyable and has ==.
template <class T>
class History {
 public:
  static constexpr std::size_t kMost = 200;  // steps kept

  explicit History(T first) { steps_.push_back({std::move(first), {}, 0}); }

  const T& now() const { return steps_[at_].value; }

  // `what` names the edit ("tp = 8"). Edits in succession with the same gesture other than 0 (one drag of a slider) are one step, and what was undone
  // is forgotten. A value equal to the present one is no edit: false.
  bool push(T value, std::string what, std::uint64_t gesture = 0) {
    if (value == now()) return false;
    steps_.resize(at_ + 1);
    if (gesture != 0 && steps_.back().gesture == gesture && at_ > 0) {
      steps_.back() = {std::move(value), std::move(what), gesture};
      return true;
    }
    steps_.push_back({std::move(value), std::move(what), gesture});
    if (steps_.size() > kMost) steps_.erase(steps_.begin());
    at_ = steps_.size() - 1;
    return true;
  }
  // Forgets everything but `value`.
  void reset(T value) {
    steps_.clear();
    steps_.push_back({std::move(value), {}, 0});
    at_ = 0;
  }

  bool can_undo() const { return at_ > 0; }
  bool can_redo() const { return at_ + 1 < steps_.size(); }
  // What undo() or redo() would take back or do again; empty where there is nothing.
  std::string undo_what() const { return can_undo() ? steps_[at_].what : std::string{}; }
  std::string redo_what() const { return can_redo() ? steps_[at_ + 1].what : std::string{}; }
  bool undo() { return can_undo() && (--at_, true); }
  bool redo() { return can_redo() && (++at_, true); }

 private:
  struct Step {
    T value;
    std::string what;
    std::uint64_t gesture = 0;
  };
  std::vector<Step> steps_;
  std::size_t at_ = 0;
};

}  // namespace orrery::view

// What the whole window looks at: one question, its answer, and where the user's attention is. Every page listens to it; none talks to another.
#pragma once

#include <QObject>
#include <QString>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "app/compare.h"
#include "app/plan.h"
#include "app/run.h"
#include "app/sweep.h"
#include "core/timeline.h"
#include "gui/state/asker.h"
#include "gui/state/job.h"
#include "gui/view/history.h"

namespace orrery::gui {

enum class Tone { hint, good, bad };

// A timeline that was not predicted for the question: a run's, or a trace from a file.
struct Other {
  std::shared_ptr<const Timeline> timeline;
  QString name;                        // "measured: cpu-llama-tiny", "trace.json"
  std::optional<std::string> about{};  // of a run: its model and cluster; it is taken away when the question is about others
  bool live = false;                   // of a run that goes on: another will come in a moment
};

class ViewState : public QObject {
  Q_OBJECT

 public:
  explicit ViewState(QObject* parent = nullptr);
  ~ViewState() override;

  // --- the question
  // What a window shows that is given nothing: the first of view::examples().
  static app::PlanFlags first_question();
  const app::PlanFlags& question() const { return history_.now(); }
  // An undoable edit; `what` names it in menus ("tp = 8"). Edits in succession of one gesture (from new_gesture(), not 0) are one step.
  void ask(app::PlanFlags question, const QString& what, std::uint64_t gesture = 0);
  // The question with the setting PATH=VALUE in place of what it said about the path (an empty value: without any).
  void set(const std::string& path, const std::string& value, std::uint64_t gesture = 0);
  // Several settings as one edit.
  void set(const std::vector<std::pair<std::string, std::string>>& settings, const QString& what, std::uint64_t gesture = 0);
  static std::uint64_t new_gesture();
  bool can_undo() const { return history_.can_undo(); }
  bool can_redo() const { return history_.can_redo(); }
  QString undo_what() const { return QString::fromStdString(history_.undo_what()); }
  QString redo_what() const { return QString::fromStdString(history_.redo_what()); }
  void undo();
  void redo();

  // --- its answer
  // The newest there is; it may be of an older question (answer()->question) while the new one is worked on. Null before the first.
  const std::shared_ptr<const Answer>& answer() const { return answer_; }
  bool waiting() const { return answered_ < asked_; }                          // for the numbers
  bool settled() const { return !waiting() && answer_ && answer_->complete; }  // the timeline is there too
  // The last answer that had a report, to be shown (greyed) while the present plan is illegal.
  const std::shared_ptr<const Answer>& last_good() const { return last_good_; }

  // --- what it is compared with
  const std::shared_ptr<const Answer>& pinned() const { return pinned_; }
  void pin();  // the present answer, if it has a report, until a question about another model is answered
  void unpin();

  // --- timelines
  // What the timeline page shows: an opened trace, otherwise the prediction of the last complete answer; null where there is neither. While a new
  // question is worked on the old timeline stays.
  std::shared_ptr<const Timeline> timeline() const;
  // Reads or writes a large trace just now.
  bool busy_with_files() const { return files_.running(); }
  // The answer that timeline() is of; null for an opened trace, and before the first.
  std::shared_ptr<const Answer> shown() const { return trace_ ? nullptr : shown_; }
  const std::optional<Other>& trace() const { return trace_; }
  void show_trace(std::optional<Other> trace);
  // What is laid over it: a run's measurement, or a second trace.
  const std::optional<Other>& measured() const { return measured_; }
  void set_measured(std::optional<Other> measured);

  // --- attention, in times of the timeline
  using Range = std::pair<Picoseconds, Picoseconds>;
  std::optional<Picoseconds> cursor() const { return cursor_; }
  void set_cursor(std::optional<Picoseconds> time);
  std::optional<std::uint32_t> selection() const { return selection_; }  // index into timeline()->spans
  void select(std::optional<std::uint32_t> span);
  std::optional<Range> range() const { return range_; }  // visible; nothing: all
  void set_range(std::optional<Range> range);
  std::uint32_t rank() const { return rank_; }  // that memory and the like look at
  void set_rank(std::uint32_t rank);

  // --- results of long jobs
  const std::shared_ptr<const app::PlanReport>& search() const { return search_; }
  void set_search(std::shared_ptr<const app::PlanReport> report);
  const std::shared_ptr<const app::SweepReport>& sweep() const { return sweep_; }
  void set_sweep(std::shared_ptr<const app::SweepReport> report);
  const std::shared_ptr<const app::RunReport>& run() const { return run_; }
  // Also lays its timeline over the prediction, unless the question is about something else by now.
  void set_run(std::shared_ptr<const app::RunReport> report);
  // The newest step of a run of these inputs that goes on, laid over the prediction: not over what the user laid there or in place of what the user
  // took away. `before`: what an earlier call of this run returned; null: its first.
  std::shared_ptr<const Timeline> lay_step(const app::Inputs& inputs, std::shared_ptr<const Timeline> step, const QString& name,
                                           const std::shared_ptr<const Timeline>& before);
  // Two summaries to lay side by side, for the Compare page, and what they are of, where a command can say that.
  const std::optional<std::pair<app::Summary, app::Summary>>& compared() const { return compared_; }
  const std::optional<std::pair<app::Operand, app::Operand>>& compared_operands() const { return compared_operands_; }
  void compare(app::Summary a, app::Summary b, std::optional<std::pair<app::Operand, app::Operand>> operands = {});

  // --- files
  // Opens whatever it is: a plan, a Hugging Face config.json, a cluster, a profile, a trace, a sweep's table. What cannot be read is told by
  // message().
  bool open(const QString& path);
  // Lays a trace over what is shown.
  bool open_over(const QString& path);
  bool save_plan(const QString& path);
  bool save_trace(const QString& path);

  // A line in the window, in place of a dialog; `tone` colours it. An Error is told as the command line tells it.
  void say(const QString& text, Tone tone = Tone::hint);
  void say(const Error& error);
  // Brings a page to the front, by its key.
  void go_to(const QString& page);

 Q_SIGNALS:
  void question_changed();
  void answer_changed();  // also when a better one of the same question came
  void pin_changed();
  void timeline_changed();
  void measured_changed();
  void cursor_changed();
  void selection_changed();
  void range_changed();
  void rank_changed();
  void search_changed();
  void sweep_changed();
  void run_changed();
  void compared_changed();
  void opened(const QString& path);        // a file, which recent files remember
  void table_opened(const QString& path);  // what a sweep printed, or a sweep to run
  void message(const QString& text, orrery::gui::Tone tone);
  void page_wanted(const QString& page);

 private:
  void ask_now();
  static std::string about(const app::Inputs& inputs);
  // Hands over the timeline of the file, large ones later and from a thread. Throws Error where a small one cannot be read.
  void read_trace(const QString& path, std::function<void(Other)> take);

  view::History<app::PlanFlags> history_;
  Asker asker_;
  std::uint64_t asked_ = 0, answered_ = 0;
  std::shared_ptr<const Answer> answer_, last_good_, shown_, pinned_;
  std::optional<Other> trace_, measured_;
  std::optional<Picoseconds> cursor_;
  std::optional<std::uint32_t> selection_;
  std::optional<Range> range_;
  std::uint32_t rank_ = 0;
  std::shared_ptr<const app::PlanReport> search_;
  std::shared_ptr<const app::SweepReport> sweep_;
  std::shared_ptr<const app::RunReport> run_;
  std::optional<std::pair<app::Summary, app::Summary>> compared_;
  std::optional<std::pair<app::Operand, app::Operand>> compared_operands_;
  Job files_;
};

}  // namespace orrery::gui

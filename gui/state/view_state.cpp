#include "gui/state/view_state.h"

#include <QFileInfo>
#include <QMetaObject>
#include <atomic>

#include "app/compare.h"
#include "app/file_kind.h"
#include "core/files.h"
#include "core/plan_json.h"
#include "core/settings.h"
#include "core/timeline_json.h"
#include "gui/view/examples.h"

namespace orrery::gui {
namespace {

// What is read or written while the window waits; more takes a thread of its own. Reading takes about 20 ms a MiB.
constexpr qint64 kLargeFile = 2 << 20;
constexpr std::size_t kManySpans = 10000;

// The flag that is short for a setting, cleared; so that the setting alone holds.
void clear_flag(app::PlanFlags& flags, const std::string& path) {
  const std::pair<const char*, std::optional<std::int64_t>*> numbers[] = {
      {"parallel.tp", &flags.tp},          {"parallel.cp", &flags.cp},          {"parallel.ep", &flags.ep},
      {"parallel.pp", &flags.pp},          {"parallel.vp", &flags.vp},          {"batch.global", &flags.global_batch},
      {"batch.micro", &flags.micro_batch}, {"batch.sequence", &flags.sequence}, {"sharding.zero", &flags.zero}};
  for (const auto& [name, flag] : numbers)
    if (path == name) flag->reset();
  if (path == "parallel.sp") flags.sp.reset();
  if (path == "schedule") flags.schedule.reset();
  if (path == "recompute.kind") flags.recompute.reset();
  if (path == "stages") flags.stages.reset();
}

void put(app::PlanFlags& flags, const std::string& path, const std::string& value) {
  if (path == "model" || path == "cluster" || path == "profile") {
    (path == "model" ? flags.model : path == "cluster" ? flags.cluster : flags.profile) = value;
    return;
  }
  const std::string wanted = app::setting_path(path);
  clear_flag(flags, wanted);
  std::erase_if(flags.settings, [&](const std::string& s) { return app::setting_path(s) == wanted; });
  if (!value.empty()) flags.settings.push_back(path + "=" + value);
}

}  // namespace

ViewState::ViewState(QObject* parent) : QObject(parent), history_(app::PlanFlags{}) {
  connect(&files_, &Job::failed, this, [this](const Error& error) { say(error); });
  connect(&asker_, &Asker::answered, this, [this](const std::shared_ptr<const Answer>& answer) {
    if (answer->number < asked_ && answer->complete) return;  // what an older question led to is worth showing only on the way to the next
    answered_ = answer->number;
    answer_ = answer;
    if (answer->explored) last_good_ = answer;
    const bool told = answer->complete && answer->explored;  // an illegal plan leaves what was there
    if (told) shown_ = answer;
    if (pinned_ && answer->inputs && answer->inputs->plan.model != pinned_->inputs->plan.model) unpin();  // another model's figures say nothing
    if (told && measured_ && measured_->about && answer->inputs && *measured_->about != about(*answer->inputs)) set_measured(std::nullopt);
    Q_EMIT answer_changed();
    if (told && !trace_) {
      select(std::nullopt);
      Q_EMIT timeline_changed();
    }
  });
}

ViewState::~ViewState() = default;

// A measured run says something about plans of its own model and cluster.
std::string ViewState::about(const app::Inputs& inputs) { return inputs.plan.model + " on " + inputs.plan.cluster; }

app::PlanFlags ViewState::first_question() { return view::examples().front().question; }

void ViewState::ask_now() {
  if (trace_) show_trace(std::nullopt);
  asked_ = asker_.ask(question());
  Q_EMIT question_changed();
}

void ViewState::ask(app::PlanFlags question, const QString& what, std::uint64_t gesture) {
  if (asked_ == 0) {
    history_.reset(std::move(question));
  } else if (!history_.push(std::move(question), what.toStdString(), gesture)) {
    if (trace_) show_trace(std::nullopt);  // asked for again: it is what is wanted on screen
    return;
  }
  ask_now();
}

void ViewState::set(const std::string& path, const std::string& value, std::uint64_t gesture) {
  set({{path, value}}, QString::fromStdString(value.empty() ? path + " as before" : path + " = " + value), gesture);
}

void ViewState::set(const std::vector<std::pair<std::string, std::string>>& settings, const QString& what, std::uint64_t gesture) {
  app::PlanFlags question = this->question();
  for (const auto& [path, value] : settings) put(question, path, value);
  ask(std::move(question), what, gesture);
}

std::uint64_t ViewState::new_gesture() {
  static std::atomic<std::uint64_t> next{1};
  return next++;
}

void ViewState::undo() {
  if (history_.undo()) ask_now();
}

void ViewState::redo() {
  if (history_.redo()) ask_now();
}

void ViewState::pin() {
  if (!answer_ || !answer_->explored) return;
  pinned_ = answer_;
  Q_EMIT pin_changed();
}

void ViewState::unpin() {
  pinned_.reset();
  Q_EMIT pin_changed();
}

std::shared_ptr<const Timeline> ViewState::timeline() const {
  if (trace_) return trace_->timeline;
  if (!shown_ || !shown_->timeline()) return nullptr;
  return {shown_->explored, shown_->timeline()};
}

void ViewState::show_trace(std::optional<Other> trace) {
  trace_ = std::move(trace);
  selection_.reset();
  range_.reset();
  cursor_.reset();
  Q_EMIT timeline_changed();
  Q_EMIT selection_changed();
  Q_EMIT range_changed();
  Q_EMIT cursor_changed();
}

void ViewState::set_measured(std::optional<Other> measured) {
  measured_ = std::move(measured);
  Q_EMIT measured_changed();
}

void ViewState::set_cursor(std::optional<Picoseconds> time) {
  if (time == cursor_) return;
  cursor_ = time;
  Q_EMIT cursor_changed();
}

void ViewState::select(std::optional<std::uint32_t> span) {
  if (span == selection_) return;
  selection_ = span;
  Q_EMIT selection_changed();
}

void ViewState::set_range(std::optional<Range> range) {
  if (range == range_) return;
  range_ = range;
  Q_EMIT range_changed();
}

void ViewState::set_rank(std::uint32_t rank) {
  if (rank == rank_) return;
  rank_ = rank;
  Q_EMIT rank_changed();
}

void ViewState::set_search(std::shared_ptr<const app::PlanReport> report) {
  search_ = std::move(report);
  Q_EMIT search_changed();
}

void ViewState::set_sweep(std::shared_ptr<const app::SweepReport> report) {
  sweep_ = std::move(report);
  Q_EMIT sweep_changed();
}

void ViewState::set_run(std::shared_ptr<const app::RunReport> report) {
  run_ = std::move(report);
  const bool asked = run_ && (!answer_ || !answer_->inputs || about(*answer_->inputs) == about(run_->inputs));
  if (asked && !run_->result.timeline.spans.empty())
    set_measured(Other{{run_, &run_->result.timeline}, tr("measured: %1").arg(QString::fromStdString(run_->predicted.model)), about(run_->inputs)});
  Q_EMIT run_changed();
}

std::shared_ptr<const Timeline> ViewState::lay_step(const app::Inputs& inputs, std::shared_ptr<const Timeline> step, const QString& name,
                                                    const std::shared_ptr<const Timeline>& before) {
  const bool ours = before ? measured_ && measured_->timeline == before : !measured_ || measured_->about;
  if (!ours || (answer_ && answer_->inputs && about(*answer_->inputs) != about(inputs))) return before;
  set_measured(Other{step, name, about(inputs), true});
  return step;
}

void ViewState::compare(app::Summary a, app::Summary b, std::optional<std::pair<app::Operand, app::Operand>> operands) {
  compared_.emplace(std::move(a), std::move(b));
  compared_operands_ = std::move(operands);
  Q_EMIT compared_changed();
  go_to("compare");
}

bool ViewState::open(const QString& path) {
  const std::string file = path.toStdString();
  try {
    app::PlanFlags question = this->question();
    switch (app::file_kind(file)) {
      case app::FileKind::plan:
        load_plan(file);  // so that a broken file is told before anything changes
        question = {};
        question.plan = file;
        question.profile = this->question().profile;
        ask(std::move(question), "open " + path);
        break;
      case app::FileKind::model:
        app::model_from(file, {});
        question.model = file;
        ask(std::move(question), "model " + path);
        break;
      case app::FileKind::cluster:
      case app::FileKind::device:
        app::cluster_from(file, {});
        question.cluster = file;
        ask(std::move(question), "cluster " + path);
        break;
      case app::FileKind::profile:
        question.profile = file;
        ask(std::move(question), "profile " + path);
        break;
      case app::FileKind::trace:
        read_trace(path, [this](Other trace) { show_trace(std::move(trace)); });
        return true;
      case app::FileKind::summary: {
        app::Summary summary = app::load_operand({file, {}});
        if (!answer_ || !answer_->report()) throw Error(file, "has nothing to be compared with", "open a plan first");
        compare(answer_->report()->summary, std::move(summary), std::pair{app::Operand{{}, answer_->question}, app::Operand{file, {}}});
        break;
      }
      case app::FileKind::sweep:
      case app::FileKind::table:
        Q_EMIT table_opened(path);
        go_to("sweeps");
        break;
    }
  } catch (const Error& e) {
    say(e);
    return false;
  }
  Q_EMIT opened(path);
  return true;
}

bool ViewState::open_over(const QString& path) {
  try {
    read_trace(path, [this](Other trace) { set_measured(std::move(trace)); });
  } catch (const Error& e) {
    say(e);
    return false;
  }
  return true;
}

void ViewState::read_trace(const QString& path, std::function<void(Other)> take) {
  const auto there = [this, path, take = std::move(take)](std::shared_ptr<const Timeline> timeline) {
    take(Other{std::move(timeline), path, std::nullopt});
    go_to("timeline");
    Q_EMIT opened(path);
  };
  if (QFileInfo(path).size() < kLargeFile) return there(std::make_shared<const Timeline>(load_timeline(path.toStdString())));
  if (files_.running()) throw Error(path.toStdString(), "has to wait", "another trace is being read or written: try again when that is done");
  say(tr("reading %1 …").arg(path));
  files_.start([this, path, there](Job::Control& control) {
    auto timeline = std::make_shared<const Timeline>(load_timeline(path.toStdString()));
    control.post([this, path, there, timeline] {
      there(timeline);
      say(tr("read: %1 (%2 spans)").arg(path).arg(timeline->spans.size()), Tone::good);
    });
  });
}

bool ViewState::save_plan(const QString& path) {
  if (!answer_ || !answer_->inputs) return false;
  try {
    write_file_atomically(path.toStdString(), write_plan(answer_->inputs->plan));
  } catch (const Error& e) {
    say(e);
    return false;
  }
  QStringList outside;
  for (const std::string& setting : question().settings)
    if (setting.starts_with("cluster.") || setting.starts_with("model.")) outside << QString::fromStdString(setting);
  if (!question().profile.empty()) outside << "--profile " + QString::fromStdString(question().profile);
  if (outside.isEmpty())
    say("plan: " + path, Tone::good);
  else
    say(tr("plan: %1. A plan does not hold what was changed about the machine, the model or the profile: %2 (\"Copy as command\" has all of it)")
            .arg(path, outside.join(", ")));
  Q_EMIT opened(path);
  return true;
}

bool ViewState::save_trace(const QString& path) {
  const std::shared_ptr<const Timeline> shown = timeline();
  if (!shown) return false;
  const auto write = [path, shown] { write_file_atomically(path.toStdString(), write_chrome_trace(*shown)); };
  const auto written = [this, path, spans = shown->spans.size()] {
    say(tr("trace: %1 (%2 spans); ui.perfetto.dev opens it too").arg(path).arg(spans), Tone::good);
  };
  if (shown->spans.size() >= kManySpans) {
    if (files_.running()) return false;
    say(tr("writing %1 …").arg(path));
    files_.start([write, written](Job::Control& control) {
      write();
      control.post(written);
    });
    return true;
  }
  try {
    write();
  } catch (const Error& e) {
    say(e);
    return false;
  }
  written();
  return true;
}

void ViewState::say(const QString& text, Tone tone) { Q_EMIT message(text, tone); }

void ViewState::say(const Error& error) { say(QString::fromUtf8(error.what()), Tone::bad); }

void ViewState::go_to(const QString& page) { Q_EMIT page_wanted(page); }

}  // namespace orrery::gui

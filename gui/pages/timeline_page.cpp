#include "gui/pages/timeline_page.h"

#include <QAction>
#include <QApplication>
#include <QDir>
#include <QFileInfo>
#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QMenu>
#include <QShowEvent>
#include <QSplitter>
#include <QToolButton>
#include <QVBoxLayout>
#include <set>
#include <utility>

#include "app/command_line.h"
#include "gui/charts/timeline_chart.h"
#include "gui/pages/search_bar.h"
#include "gui/pages/shown_bar.h"
#include "gui/pages/span_details.h"
#include "gui/state/job.h"
#include "gui/state/view_state.h"
#include "gui/view/step_totals.h"

namespace orrery::gui {
namespace {

constexpr std::size_t kAtOnce = 150'000;  // spans that are indexed within a frame or so (30 ns each); more go to another thread

QString plain_keys() {
  return QStringLiteral(
      "W S zoom · A D move · ← → ↑ ↓ spans · / search · F fit · M measure · Ctrl+← → cursor · R fold · C critical path · 1–9 Tab colours · Esc "
      "clear");
}

}  // namespace

struct TimelinePage::Indexed {
  std::shared_ptr<const Timeline> timeline, over_timeline;
  std::shared_ptr<const view::SpanIndex> index, over;
  std::shared_ptr<const view::Differences> differences;
};

TimelinePage::TimelinePage(ViewState& state, QWidget* parent)
    : Page(state, QStringLiteral("timeline"), tr("Timeline"), parent),
      chart_(new TimelineChart),
      details_(new SpanDetails),
      search_(new SearchBar),
      what_(new ShownBar),
      status_(new QLabel),
      critical_(new QToolButton),
      fit_(new QToolButton),
      streams_(new QMenu(this)),
      job_(new Job(this)) {
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(0);
  make_tools();
  column->addWidget(what_);
  auto* split = new QSplitter;
  split->addWidget(chart_);
  split->addWidget(details_);
  split->setStretchFactor(0, 1);
  split->setStretchFactor(1, 0);
  split->setSizes({900, 272});
  split->setChildrenCollapsible(true);
  split->setCollapsible(0, false);
  column->addWidget(split, 1);
  status_->setObjectName("dim");
  status_->setContentsMargins(12, 4, 12, 5);
  status_->setTextInteractionFlags(Qt::NoTextInteraction);
  status_->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Fixed);
  status_->setText(plain_keys());
  column->addWidget(status_);
  listen_to_state();
  listen_to_parts();
  refresh();
  show_details();
  dim_when_stale(this, true);
}

TimelinePage::~TimelinePage() = default;

void TimelinePage::make_tools() {
  auto* tools = new QHBoxLayout;
  tools->setContentsMargins(12, 8, 12, 6);
  tools->setSpacing(6);
  tools->addWidget(search_, 1);
  tools->addStretch(1);
  const auto button = [&](QToolButton* tool, const QString& text, const QString& name, const QString& tip) {
    tool->setText(text);
    tool->setAccessibleName(name);
    tool->setToolTip(tip);
    tool->setAutoRaise(true);
    tools->addWidget(tool);
  };
  button(critical_, tr("Critical path"), tr("Critical path"), tr("Mark what the length of the step hangs on (C)"));
  critical_->setCheckable(true);
  auto* fold = new QToolButton;
  button(fold, tr("Streams"), tr("Streams"), tr("Which streams are shown"));
  fold->setMenu(streams_);
  fold->setPopupMode(QToolButton::InstantPopup);
  button(fit_, tr("Fit"), tr("Fit"), tr("Show what is selected, then everything (F)"));
  static_cast<QVBoxLayout*>(layout())->addLayout(tools);
}

void TimelinePage::listen_to_state() {
  ViewState& s = state();
  connect(&s, &ViewState::timeline_changed, this, &TimelinePage::refresh);
  connect(&s, &ViewState::measured_changed, this, &TimelinePage::refresh);
  connect(&s, &ViewState::selection_changed, this, &TimelinePage::select_from_state);
  connect(&s, &ViewState::range_changed, this, &TimelinePage::range_from_state);
  connect(&s, &ViewState::cursor_changed, this, [this] {
    if (isVisible()) chart_->set_cursor(state().cursor());
  });
  const auto judge = [this] { chart_->set_illegal(state().answer() && !state().answer()->explored); };
  connect(&s, &ViewState::answer_changed, this, judge);
  judge();
  connect(job_, &Job::finished, this, &TimelinePage::refresh);
}

void TimelinePage::listen_to_parts() {
  connect(chart_, &TimelineChart::range_changed, this, [this] {
    const view::TimeRange range = chart_->axis().range();
    if (range == chart_->axis().whole()) {
      state().set_range(std::nullopt);
    } else {
      state().set_range(ViewState::Range{range.begin, range.end});
    }
  });
  connect(chart_, &TimelineChart::cursor_changed, this, [this] { state().set_cursor(chart_->cursor()); });
  connect(chart_, &TimelineChart::selection_changed, this, &TimelinePage::select_from_chart);
  connect(chart_, &TimelineChart::measured_changed, this, [this] {
    if (!chart_->selection() || chart_->measured()) show_details();
  });
  connect(chart_, &TimelineChart::hovered, this, [this](const QString& what) { status_->setText(what.isEmpty() ? plain_keys() : what); });
  connect(chart_, &TimelineChart::search_wanted, search_, &SearchBar::start);
  connect(chart_, &TimelineChart::next_wanted, search_, &SearchBar::go);
  connect(chart_, &TimelineChart::cleared, search_, &SearchBar::clear);
  connect(chart_, &TimelineChart::critical_changed, this, [this] { critical_->setChecked(chart_->critical()); });
  connect(search_, &SearchBar::matches_changed, this, [this] {
    const auto& found = search_->matches();
    chart_->set_matches(found && !found->empty() ? found : nullptr);
  });
  connect(search_, &SearchBar::wanted, this, &TimelinePage::go_to);
  connect(search_, &SearchBar::left, chart_, [this] { chart_->setFocus(); });
  connect(details_, &SpanDetails::span_wanted, this, [this](view::SpanAt span) {
    chart_->select(span);
    chart_->reveal(span);
    chart_->setFocus();
  });
  connect(critical_, &QToolButton::toggled, chart_, &TimelineChart::set_critical);
  connect(fit_, &QToolButton::clicked, this, [this] {
    const view::TimeRange before = chart_->axis().range();
    chart_->fit_selection();
    if (chart_->axis().range() == before) chart_->fit_all();
  });
  connect(what_, &ShownBar::uncover_wanted, this, [this] { state().set_measured(std::nullopt); });
  connect(what_, &ShownBar::prediction_wanted, this, [this] { state().show_trace(std::nullopt); });
}

QList<const Chart*> TimelinePage::charts() const { return {chart_}; }

QString TimelinePage::command() const {
  if (state().trace()) return trace_command({"--svg"});
  std::vector<std::string> more{"--trace", "trace.json"};
  const std::shared_ptr<const Timeline> timeline = state().timeline();
  if (timeline && state().selection() && *state().selection() < timeline->spans.size()) {  // what the panel says of it
    const Span& span = timeline->spans[*state().selection()];
    more = {"--at", std::to_string(span.start.v) + "ps", "--rank", std::to_string(span.rank)};
  }
  return QString::fromStdString(app::command_line(shown_question(), "simulate", more));
}

std::optional<QString> TimelinePage::csv() const {
  if (!chart_->index() || chart_->index()->lanes().empty()) return std::nullopt;
  return QString::fromStdString(view::totals_csv(*chart_->index()));
}

bool TimelinePage::settled() const { return !isVisible() || (!job_->running() && !search_->busy() && shown_ == state().timeline()); }

const std::shared_ptr<const std::vector<view::SpanId>>& TimelinePage::matches() const { return search_->matches(); }

// --- Timelines -----------------------------------------------------------------------------------------------------------------------------------

void TimelinePage::refresh() {
  if (!isVisible()) return;
  wanted_ = state().timeline();
  wanted_over_ = state().measured() ? state().measured()->timeline : nullptr;
  // What one looks into does not change under one's hands: steps of a run that goes on come again when it is let go.
  const bool busy = chart_->selection() || chart_->measured() || streams_->isVisible();
  if (wanted_over_ && state().measured()->live && shown_over_ && busy) wanted_over_ = shown_over_;
  if ((wanted_ == shown_ && wanted_over_ == shown_over_) || job_->running()) return;  // a job that ends comes back here
  const auto build = [timeline = wanted_, over = wanted_over_, old = chart_->index(), old_over = chart_->over()] {
    auto made = std::make_shared<Indexed>();
    made->timeline = timeline;
    made->over_timeline = over;
    if (timeline) made->index = old && old->shared() == timeline ? old : std::make_shared<const view::SpanIndex>(timeline);
    if (timeline && over) {
      made->over = old_over && old_over->shared() == over ? old_over : std::make_shared<const view::SpanIndex>(over);
      made->differences = std::make_shared<const view::Differences>(made->index, made->over);
    }
    return std::shared_ptr<const Indexed>(std::move(made));
  };
  if ((wanted_ ? wanted_->spans.size() : 0) + (wanted_over_ ? wanted_over_->spans.size() : 0) <= kAtOnce) {
    take(build());
    return;
  }
  job_->start([this, build](Job::Control& control) {
    auto made = build();
    control.post([this, made = std::move(made)] { take(made); });
  });
}

void TimelinePage::take(const std::shared_ptr<const Indexed>& indexed) {
  if (indexed->timeline != shown_ || chart_->index() != indexed->index) chart_->show_timeline(indexed->index);
  chart_->lay_over(indexed->over, indexed->differences);
  shown_ = indexed->timeline;
  shown_over_ = indexed->over_timeline;
  name_timelines(indexed->differences.get());
  critical_->setEnabled(shown_ && !shown_->critical.empty());
  critical_->setToolTip(critical_->isEnabled() ? tr("Mark what the length of the step hangs on (C)") : tr("Known of simulated timelines"));
  fill_streams();
  range_from_state();
  search_->search_in(chart_->index());
  select_from_state();
  show_details();
}

void TimelinePage::name_timelines(const view::Differences* differences) {
  // Of a file its name, of a run what it calls itself.
  const auto name = [](const Other& other) { return (other.about ? other.name : QFileInfo(other.name).fileName()).toStdString(); };
  const auto tip = [](const Other& other) { return other.about ? QString() : QDir::toNativeSeparators(other.name); };
  ShownBar::Shown shown;
  view::Source own;
  if (shown_) own.origin = shown_->origin;
  if (const auto& trace = state().trace()) {
    shown.opened = shown_ != nullptr;
    shown.own_tip = tip(*trace);
    own.name = name(*trace);
  } else if (const auto answer = state().shown(); answer && answer->inputs) {
    own.name = answer->inputs->model.name + " on " + answer->inputs->plan.cluster;
  }
  std::optional<view::Source> other;
  if (const auto& measured = state().measured(); measured && chart_->over()) {
    shown.over = true;
    shown.both = differences->matched();
    shown.other_tip = tip(*measured);
    other = view::Source{shown_over_->origin, name(*measured)};
  }
  shown.names = view::shown_names(own, other);
  what_->show_what(shown);
  chart_->set_names(shown.names);
}

void TimelinePage::fill_streams() {
  streams_->clear();
  for (const std::string& stream : chart_->lanes().streams()) {
    QAction* action = streams_->addAction(QString::fromStdString(stream));
    action->setCheckable(true);
    action->setChecked(!chart_->layout_choice().folded.contains(stream));
    connect(action, &QAction::toggled, this, [this, stream](bool shown) {
      std::set<std::string> folded = chart_->layout_choice().folded;
      if (shown) {
        folded.erase(stream);
      } else {
        folded.insert(stream);
      }
      chart_->set_folded(std::move(folded));
    });
  }
  if (chart_->lanes().ranks() == 0) return;
  streams_->addSeparator();
  streams_->addAction(tr("Only compute streams"), this, [this] {
    std::set<std::uint32_t> ranks;
    for (const view::Row& r : chart_->lanes().rows()) ranks.insert(r.rank);
    chart_->set_collapsed(std::move(ranks));
  });
  streams_->addAction(tr("All streams"), this, [this] {
    chart_->set_collapsed({});
    chart_->set_folded({});
    fill_streams();
  });
}

// --- Attention -----------------------------------------------------------------------------------------------------------------------------------

void TimelinePage::go_to(view::SpanId span) {
  chart_->select(SpanAt{span, false});
  chart_->reveal({span, false});
}

void TimelinePage::select_from_chart() {
  const auto selected = chart_->selection();
  if (shown_ != state().timeline()) {
    // The lanes are still those of the last timeline, whose spans nobody else knows.
  } else if (!selected) {
    if (chart_->index()) state().select(std::nullopt);
  } else {
    view::SpanId here = selected->span;
    if (selected->other) here = chart_->differences() == nullptr ? view::kNoSpan : chart_->differences()->match_of_other(here);
    if (here == view::kNoSpan) {
      state().select(std::nullopt);
    } else {
      state().select(here);
      state().set_rank(chart_->index()->timeline().spans[here].rank);
    }
  }
  search_->set_selected(selected && !selected->other ? selected->span : view::kNoSpan);
  show_details();
}

void TimelinePage::select_from_state() {
  if (!chart_->index() || shown_ != state().timeline()) return;
  const auto wanted = state().selection();
  const auto selected = chart_->selection();
  if (!wanted) {
    if (selected && !selected->other) chart_->select(std::nullopt);
    return;
  }
  if (selected && selected->other && chart_->differences() != nullptr && chart_->differences()->match_of_other(selected->span) == *wanted) return;
  const SpanAt span{*wanted, false};
  if (selected == span) return;
  chart_->select(span);
  chart_->reveal(span);
}

void TimelinePage::range_from_state() {
  if (shown_ != state().timeline()) return;  // of another timeline
  const auto range = state().range();
  chart_->show_range(range ? std::optional(view::TimeRange{range->first, range->second}) : std::nullopt);
}

void TimelinePage::show_details() {
  if (const auto selected = chart_->selection()) {
    chart_->set_arrows(details_->show_span(*chart_, *selected, state().shown()));
  } else {
    details_->show_step(*chart_);
  }
}

// --- Events --------------------------------------------------------------------------------------------------------------------------------------

void TimelinePage::keyPressEvent(QKeyEvent* event) {
  if (!chart_->take_key(event)) Page::keyPressEvent(event);
}

void TimelinePage::showEvent(QShowEvent* event) {
  Page::showEvent(event);
  refresh();
  range_from_state();
  select_from_state();
  chart_->set_cursor(state().cursor());
  // Not when the window comes back, nor away from the list of pages: its arrow keys walk on from here.
  const QWidget* focus = QApplication::focusWidget();
  if (!event->spontaneous() && (focus == nullptr || focus->objectName() != QStringLiteral("pages"))) chart_->setFocus();
}

void TimelinePage::changeEvent(QEvent* event) {
  if (event->type() == QEvent::PaletteChange) show_details();
  Page::changeEvent(event);
}

}  // namespace orrery::gui

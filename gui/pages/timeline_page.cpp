#include "gui/pages/timeline_page.h"

#include <QAction>
#include <QApplication>
#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QLineEdit>
#include <QMenu>
#include <QShowEvent>
#include <QSplitter>
#include <QTextBrowser>
#include <QToolButton>
#include <QUrl>
#include <QVBoxLayout>
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <utility>

#include "app/command_line.h"
#include "app/span_story.h"
#include "core/quantity_text.h"
#include "gui/charts/timeline_chart.h"
#include "gui/state/job.h"
#include "gui/state/view_state.h"
#include "gui/theme.h"
#include "gui/view/span_search.h"

namespace orrery::gui {
namespace {

constexpr std::size_t kAtOnce = 150'000;  // spans that are indexed within a frame or so (30 ns each); more go to another thread

QString words(const std::string& text) { return QString::fromStdString(text); }
QString words(std::string_view text) { return QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size())); }
QString safe(const std::string& text) { return words(text).toHtmlEscaped(); }
QString time_text(Picoseconds t) { return words(format_seconds(t)); }

QString place_text(Picoseconds t) { return words(view::format_time(t, Picoseconds{1'000'000})); }  // to a microsecond

QString row(const QString& name, const QString& value) {
  return QStringLiteral("<tr><td class='n'>%1&nbsp;&nbsp;</td><td>%2</td></tr>").arg(name, value);
}

QString link(const QString& text, view::SpanId span, bool other) {
  return QStringLiteral("<a href='%1:%2'>%3</a>").arg(other ? QStringLiteral("over") : QStringLiteral("span")).arg(span).arg(text);
}

QString csv_field(const QString& text) {
  if (!text.contains(',') && !text.contains('"') && !text.contains('\n')) return text;
  return '"' + QString(text).replace('"', "\"\"") + '"';
}

QString plain_keys() {
  return QStringLiteral("W S zoom · A D move · ← → ↑ ↓ spans · / search · F fit · M measure · C critical path · 1–9 colours · Esc clear");
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
      details_(new QTextBrowser),
      search_(new QLineEdit),
      found_(new QLabel),
      status_(new QLabel),
      over_(new QLabel),
      previous_(new QToolButton),
      next_(new QToolButton),
      critical_(new QToolButton),
      uncover_(new QToolButton),
      streams_(new QMenu(this)),
      job_(new Job(this)) {
  auto* tools = new QHBoxLayout;
  tools->setContentsMargins(12, 8, 12, 6);
  tools->setSpacing(6);
  search_->setAccessibleName(tr("Search spans"));
  search_->setPlaceholderText(tr("Search: attention, mb 3, layer 12, >1ms"));
  search_->setToolTip(
      tr("Words that must all hold: part of an operator's or a class's name; mb, layer, rank or pass with a number; a word of a rank's "
         "name; recompute; waited; >TIME. Enter or N: the next in time, Shift: the one before. Esc: out."));
  search_->setClearButtonEnabled(true);
  search_->setMinimumWidth(220);
  search_->setMaximumWidth(380);
  search_->installEventFilter(this);
  tools->addWidget(search_, 1);
  const auto button = [&](QToolButton* tool, const QString& text, const QString& name, const QString& tip) {
    tool->setText(text);
    tool->setAccessibleName(name);
    tool->setToolTip(tip);
    tool->setAutoRaise(true);
    tools->addWidget(tool);
  };
  button(previous_, QStringLiteral("‹"), tr("Previous match"), tr("The match before in time (Shift+N)"));
  button(next_, QStringLiteral("›"), tr("Next match"), tr("The next match in time (N)"));
  found_->setObjectName("dim");
  tools->addWidget(found_);
  tools->addStretch(2);
  over_->setObjectName("dim");
  tools->addWidget(over_);
  button(uncover_, QStringLiteral("×"), tr("Take it away"), tr("Show the prediction alone"));
  button(critical_, tr("Critical path"), tr("Critical path"), tr("Mark what the length of the step hangs on (C)"));
  critical_->setCheckable(true);
  auto* fold = new QToolButton;
  button(fold, tr("Streams"), tr("Streams"), tr("Which streams are shown"));
  fold->setMenu(streams_);
  fold->setPopupMode(QToolButton::InstantPopup);
  auto* fit = new QToolButton;
  button(fit, tr("Fit"), tr("Fit"), tr("Show what is selected, then everything (F)"));

  details_->setAccessibleName(tr("Details"));
  details_->setOpenLinks(false);
  details_->setFrameShape(QFrame::NoFrame);
  details_->setMinimumWidth(220);
  status_->setObjectName("dim");
  status_->setContentsMargins(12, 4, 12, 5);
  status_->setTextInteractionFlags(Qt::NoTextInteraction);
  status_->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Fixed);

  auto* split = new QSplitter;
  split->addWidget(chart_);
  split->addWidget(details_);
  split->setStretchFactor(0, 1);
  split->setStretchFactor(1, 0);
  split->setSizes({900, 272});
  split->setChildrenCollapsible(true);
  split->setCollapsible(0, false);
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(0);
  column->addLayout(tools);
  column->addWidget(split, 1);
  column->addWidget(status_);

  // --- the state
  connect(&state, &ViewState::timeline_changed, this, &TimelinePage::refresh);
  connect(&state, &ViewState::answer_changed, this, [this] {
    const auto& answer = this->state().answer();
    chart_->set_illegal(answer && !answer->explored);
  });
  chart_->set_illegal(state.answer() && !state.answer()->explored);
  connect(&state, &ViewState::measured_changed, this, &TimelinePage::refresh);
  connect(&state, &ViewState::selection_changed, this, &TimelinePage::select_from_state);
  connect(&state, &ViewState::range_changed, this, &TimelinePage::range_from_state);
  connect(&state, &ViewState::cursor_changed, this, [this] {
    if (isVisible()) chart_->set_cursor(this->state().cursor());
  });
  connect(job_, &Job::finished, this, &TimelinePage::refresh);
  // --- the chart
  connect(chart_, &TimelineChart::range_changed, this, [this] {
    const view::TimeRange range = chart_->axis().range();
    if (range == chart_->axis().whole()) {
      this->state().set_range(std::nullopt);
    } else {
      this->state().set_range(ViewState::Range{range.begin, range.end});
    }
  });
  connect(chart_, &TimelineChart::cursor_changed, this, [this] { this->state().set_cursor(chart_->cursor()); });
  connect(chart_, &TimelineChart::selection_changed, this, &TimelinePage::select_from_chart);
  connect(chart_, &TimelineChart::measured_changed, this, [this] {
    if (!chart_->selection() || chart_->measured()) show_details();
  });
  connect(chart_, &TimelineChart::hovered, this, [this](const QString& what) { status_->setText(what.isEmpty() ? plain_keys() : what); });
  connect(chart_, &TimelineChart::search_wanted, this, [this] {
    search_->setFocus();
    search_->selectAll();
  });
  connect(chart_, &TimelineChart::next_wanted, this, &TimelinePage::go_to_match);
  connect(chart_, &TimelineChart::cleared, search_, &QLineEdit::clear);
  connect(chart_, &TimelineChart::critical_changed, this, [this] { critical_->setChecked(chart_->critical()); });
  // --- the tools
  connect(search_, &QLineEdit::textChanged, this, &TimelinePage::search);
  connect(search_, &QLineEdit::returnPressed, this, [this] { go_to_match(true); });
  connect(previous_, &QToolButton::clicked, this, [this] { go_to_match(false); });
  connect(next_, &QToolButton::clicked, this, [this] { go_to_match(true); });
  connect(critical_, &QToolButton::toggled, chart_, &TimelineChart::set_critical);
  connect(fit, &QToolButton::clicked, this, [this] {
    const view::TimeRange before = chart_->axis().range();
    chart_->fit_selection();
    if (chart_->axis().range() == before) chart_->fit_all();
  });
  connect(uncover_, &QToolButton::clicked, this, [this] { this->state().set_measured(std::nullopt); });
  connect(details_, &QTextBrowser::anchorClicked, this, &TimelinePage::follow_link);
  for (QWidget* each : {static_cast<QWidget*>(over_), static_cast<QWidget*>(uncover_)}) each->hide();  // nothing lies over it yet
  status_->setText(plain_keys());
  show_matches();
  refresh();
  show_details();
}

TimelinePage::~TimelinePage() = default;

QList<const Chart*> TimelinePage::charts() const { return {chart_}; }

QString TimelinePage::command() const { return QString::fromStdString(app::command_line(state().question(), "simulate", {"--trace", "trace.json"})); }

bool TimelinePage::settled() const { return !isVisible() || (!job_->running() && !finding_.busy() && shown_ == state().timeline()); }

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
  const bool over = indexed->over != nullptr;
  over_->setVisible(over);
  uncover_->setVisible(over);
  if (over) {
    over_->setText(tr("over it: %1").arg(state().measured() ? state().measured()->name : QString()));
    over_->setToolTip(tr("%1 of %2 instructions are in both").arg(indexed->differences->matched()).arg(indexed->timeline->spans.size()));
  }
  critical_->setEnabled(shown_ && !shown_->critical.empty());
  critical_->setToolTip(critical_->isEnabled() ? tr("Mark what the length of the step hangs on (C)") : tr("Known of simulated timelines"));
  fill_streams();
  range_from_state();
  search();
  select_from_state();
  show_details();
}

void TimelinePage::fill_streams() {
  streams_->clear();
  for (const std::string& stream : chart_->lanes().streams()) {
    QAction* action = streams_->addAction(words(stream));
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

// --- Search --------------------------------------------------------------------------------------------------------------------------------------

void TimelinePage::search() {
  finding_.forget();
  matches_ = nullptr;
  found_->setToolTip({});
  const QString text = search_->text().trimmed();
  if (!text.isEmpty() && chart_->index()) {
    const view::SpanQuery query = view::parse_query(text.toStdString(), chart_->index()->timeline());
    found_->setText(query.problem.empty() ? QString() : words(query.problem));
    const auto look = [index = chart_->index(), query] {
      auto found = view::find(index->timeline(), query);
      std::sort(found.begin(), found.end(), [&](view::SpanId a, view::SpanId b) { return index->place(a) < index->place(b); });
      return std::make_shared<const std::vector<view::SpanId>>(std::move(found));
    };
    if (query.problem.empty() && chart_->index()->timeline().spans.size() > kAtOnce) {
      finding_.ask([this, look]() -> std::function<void()> {
        return [this, found = look()] {
          matches_ = found;
          mark_matches();
        };
      });
    } else if (query.problem.empty()) {
      matches_ = look();
    }
  }
  mark_matches();
}

void TimelinePage::mark_matches() {
  chart_->set_matches(matches_ && !matches_->empty() ? matches_ : nullptr);
  show_matches();
}

void TimelinePage::show_matches() {
  const bool any = matches_ && !matches_->empty();
  previous_->setEnabled(any);
  next_->setEnabled(any);
  if (!matches_) {
    if (search_->text().trimmed().isEmpty()) found_->clear();
    return;
  }
  if (!any) {
    found_->setText(tr("none"));
    return;
  }
  const auto selected = chart_->selection();
  QString text = matches_->size() == 1 ? tr("1 match") : tr("%L1 matches").arg(matches_->size());
  if (selected && !selected->other && matches_->size() <= 10'000) {
    // Its number in time.
    const Timeline& t = chart_->index()->timeline();
    const auto key = [&](view::SpanId id) { return std::pair{t.spans[id].start, id}; };
    if (std::find(matches_->begin(), matches_->end(), selected->span) != matches_->end()) {
      const auto before = std::count_if(matches_->begin(), matches_->end(), [&](view::SpanId id) { return key(id) < key(selected->span); });
      text = tr("%L1 of %L2").arg(before + 1).arg(matches_->size());
    }
  }
  found_->setText(text);
}

void TimelinePage::go_to_match(bool forward) {
  if (!matches_ || matches_->empty()) return;
  const auto selected = chart_->selection();
  const view::SpanId from = selected && !selected->other ? selected->span : view::kNoSpan;
  const view::SpanId found = view::next_match(*matches_, chart_->index()->timeline(), from, forward);
  chart_->select(SpanAt{found, false});
  chart_->reveal({found, false});
}

// --- Attention -----------------------------------------------------------------------------------------------------------------------------------

void TimelinePage::select_from_chart() {
  const auto selected = chart_->selection();
  if (!selected) {
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
  show_details();
  show_matches();
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

void TimelinePage::follow_link(const QUrl& url) {
  const QString text = url.toString();
  const auto id = static_cast<view::SpanId>(text.section(':', 1).toUInt());
  const SpanAt span{id, text.startsWith(QStringLiteral("over"))};
  chart_->select(span);
  chart_->reveal(span);
  chart_->setFocus();
}

// --- Details -------------------------------------------------------------------------------------------------------------------------------------

QString TimelinePage::html(const QString& body) const {
  const Theme& t = theme();
  return QStringLiteral(
             "<style>body { color: %1; } td.n, .dim { color: %2; } td { padding: 1px 0; } h3 { margin: 2px 0 6px 0; } h4 { margin: 12px 0 3px 0; } "
             "a { color: %3; text-decoration: none; } .last { color: %4; }</style>%5")
      .arg(t.ink.name(), t.dim.name(), t.accent.name(), t.critical.name(), body);
}

void TimelinePage::show_details() {
  const auto selected = chart_->selection();
  const QString text = html(selected ? story(*selected) : overview());
  if (text == told_) return;  // it stays scrolled to where it was
  told_ = text;
  details_->document()->setDocumentMargin(12);
  details_->setHtml(text);
}

QString TimelinePage::story(const SpanAt& span) {
  const bool other = span.other;
  const view::SpanIndex& index = other ? *chart_->over() : *chart_->index();
  const std::shared_ptr<const Answer> answer = state().shown();
  const app::Explored* explored = answer && answer->explored ? answer->explored.get() : nullptr;
  app::SpanStory story;
  try {
    if (other) {
      story = explored != nullptr ? app::explain_span(*explored, index.timeline(), span.span) : app::explain_span(index.timeline(), span.span);
    } else if (explored != nullptr && answer->timeline() == shown_.get()) {
      story = app::explain_span(*explored, span.span);
    } else {
      story = app::explain_span(index.timeline(), span.span);
    }
  } catch (const Error& e) {
    return QStringLiteral("<h3>%1</h3>%2").arg(chart_->describe(span).toHtmlEscaped(), words(std::string_view(e.what())).toHtmlEscaped());
  }
  QString text = QStringLiteral("<h3>%1</h3>").arg(safe(story.operation));
  if (story.critical) text += QStringLiteral("<p class='last'>%1</p>").arg(tr("on the critical path"));
  if (!story.why.empty()) text += QStringLiteral("<p>%1</p>").arg(safe(story.why));

  std::vector<Arrow> arrows;
  const auto end = [&](view::SpanId id) { return SpanAt{id, other}; };
  if (!story.needed.empty()) {
    text += QStringLiteral("<h4>%1</h4><table cellspacing='0'>").arg(tr("Needed before it could start"));
    // What came last decided: the latest first.
    std::vector<const app::Needed*> needed;
    for (const app::Needed& n : story.needed) needed.push_back(&n);
    std::stable_sort(needed.begin(), needed.end(),
                     [](const app::Needed* a, const app::Needed* b) { return a->last != b->last ? a->last : a->at > b->at; });
    constexpr std::size_t kMost = 12;
    for (std::size_t i = 0; i < needed.size() && i < kMost; ++i) {
      const app::Needed& n = *needed[i];
      QString what = n.text.empty() ? words(app::name(n.how)).toHtmlEscaped() : safe(n.text);
      if (n.span != app::kNoSpan) what = link(what, n.span, other);
      const Picoseconds before = story.start - n.at;
      const QString when = n.previous      ? tr("a step before")
                           : before.v == 0 ? tr("just then")
                           : before.v > 0  ? tr("%1 before").arg(time_text(before))
                                           : tr("later");
      text += QStringLiteral("<tr><td class='%1'>%2&nbsp;&nbsp;</td><td>%3 <span class='dim'>%4</span></td></tr>")
                  .arg(n.last ? QStringLiteral("last") : QStringLiteral("n"), when, what, words(app::name(n.how)).toHtmlEscaped());
      if (n.span != app::kNoSpan && !n.previous) arrows.push_back({end(n.span), span, n.last});
    }
    text += QStringLiteral("</table>");
    if (needed.size() > kMost) text += QStringLiteral("<p class='dim'>%1</p>").arg(tr("and %1 more").arg(needed.size() - kMost));
  }
  QStringList sent;
  for (const std::uint32_t flow : index.flows_of(span.span)) {
    const Flow& f = index.timeline().flows[flow];
    const bool to_it = f.to == span.span;
    const auto known = std::find_if(arrows.begin(), arrows.end(), [&](const Arrow& a) { return a.from.span == f.from && a.to.span == f.to; });
    if (known == arrows.end()) arrows.push_back({end(f.from), end(f.to), false});
    if (!to_it) sent << link(chart_->describe(end(f.to)).toHtmlEscaped(), f.to, other);
  }
  if (!sent.isEmpty()) text += QStringLiteral("<h4>%1</h4><p>%2</p>").arg(tr("Received by"), sent.join(QStringLiteral("<br>")));

  const view::Differences* d = chart_->differences();
  const view::SpanId here = d == nullptr ? view::kNoSpan : other ? d->match_of_other(span.span) : span.span;
  if (d != nullptr && here != view::kNoSpan && d->match(here) != view::kNoSpan) {
    const view::Delta delta = d->delta(here);
    const TimelineChart& c = *chart_;
    const auto times = [&](const view::SpanIndex& of, view::SpanId id) {
      return tr("%1 at %2").arg(time_text(of.range(id).length()), place_text(of.range(id).begin));
    };
    const auto signed_time = [](Picoseconds v) { return (v.v > 0 ? QStringLiteral("+") : QString()) + time_text(v); };
    const double predicted = static_cast<double>(c.index()->range(here).length().v);
    text += QStringLiteral("<h4>%1</h4><table cellspacing='0'>").arg(tr("The two timelines"));
    text += row(words(c.index()->timeline().origin), link(times(*c.index(), here), here, false));
    text += row(words(c.over()->timeline().origin), link(times(*c.over(), d->match(here)), d->match(here), true));
    text += row(tr("longer by"),
                predicted > 0 ? tr("%1 (%2)").arg(signed_time(delta.longer), words(format_percent(static_cast<double>(delta.longer.v) / predicted)))
                              : signed_time(delta.longer));
    text += row(tr("later by"), signed_time(delta.later));
    text += QStringLiteral("</table>");
  }
  text += QStringLiteral("<h4>%1</h4><table cellspacing='0'>").arg(tr("What it is"));
  for (const auto& [name, value] : app::lines(story)) text += row(safe(name), safe(value));
  text += QStringLiteral("</table>");
  chart_->set_arrows(std::move(arrows));
  return text;
}

QString TimelinePage::overview() const {
  const auto& index = chart_->index();
  if (!index || index->lanes().empty()) return {};
  const auto measured = chart_->measured();
  const view::TimeRange range = measured.value_or(index->whole());
  // Of compute streams, every rank as often as there are such ranks.
  view::Totals sum;
  double ranks = 0, waiting = 0;
  std::array<double, view::kSlots> work{};
  const std::vector<std::int64_t>& weights = index->timeline().weights;
  for (std::size_t l = 0; l < index->lanes().size(); ++l) {
    const view::SpanIndex::Lane& lane = index->lanes()[l];
    if (!lane.compute || !lane.works) continue;
    const double weight = lane.rank < weights.size() ? static_cast<double>(std::max<std::int64_t>(1, weights[lane.rank])) : 1;
    const view::Totals own = measured ? index->totals(l, range) : lane.totals;
    ranks += weight;
    for (std::size_t s = 0; s < work.size(); ++s) work[s] += weight * static_cast<double>(own.work[s].v);
    waiting += weight * static_cast<double>(own.waited().v);
  }
  const double whole = ranks * static_cast<double>(std::max<std::int64_t>(1, range.length().v));
  QString text = measured ? QStringLiteral("<h3>%1</h3>").arg(tr("Measured: %1").arg(time_text(range.length())))
                          : QStringLiteral("<h3>%1</h3>").arg(tr("One step: %1").arg(time_text(index->timeline().step)));
  if (measured) text += QStringLiteral("<p class='dim'>%1</p>").arg(tr("from %1 to %2").arg(place_text(range.begin), place_text(range.end)));
  text += QStringLiteral("<h4>%1</h4><table cellspacing='0'>").arg(tr("Compute streams, mean of all ranks"));
  const auto share = [&](const QString& name, double time, const QColor& colour) {
    if (time <= 0) return;
    text += QStringLiteral(
                "<tr><td><span style='color:%1'>■</span>&nbsp;</td><td class='n'>%2&nbsp;&nbsp;</td><td align='right'>%3&nbsp;&nbsp;</td><td "
                "align='right'>%4</td></tr>")
                .arg(colour.name(), name, words(format_percent(time / whole)), time_text(Picoseconds{std::llround(time / std::max(1.0, ranks))}));
  };
  const Theme& t = theme();
  const LaneColours colours(t, 0, false);
  double busy = 0;
  for (std::size_t s = 0; s < work.size(); ++s) {
    share(words(view::slot_name(s)), work[s], QColor(colours.bright[s]));
    busy += work[s];
  }
  share(tr("waiting"), waiting, t.faint);
  share(tr("idle at the ends"), std::max(0.0, whole - busy - waiting) > whole * 1e-6 ? whole - busy - waiting : 0, t.grid);
  text += QStringLiteral("</table>");
  const auto help = [&](const char* keys, const QString& what) { return row(QStringLiteral("<b>%1</b>").arg(QString::fromUtf8(keys)), what); };
  text += QStringLiteral("<h4>%1</h4><table cellspacing='0'>").arg(tr("Getting about"));
  text += help("click", tr("a span: what it is and why it waited"));
  text += help("drag", tr("move"));
  text += help("wheel", tr("rows; with Ctrl (or with all rows in sight) zoom; with Shift sideways"));
  text += help("W S A D", tr("closer, away, left, right"));
  text += help("← → ↑ ↓", tr("the spans around the selected one"));
  text += help("F", tr("fit what is selected, then all"));
  text += help("/ N", tr("search, next match"));
  text += help("Shift+drag", tr("measure; or M at either end"));
  text += help("C", tr("critical path"));
  text += help("1–9", tr("colours of the legend"));
  text += help("Esc", tr("clear, one after the other"));
  text += QStringLiteral("</table>");
  return text;
}

std::optional<QString> TimelinePage::csv() const {
  if (!chart_->index() || chart_->index()->lanes().empty()) return std::nullopt;
  const view::SpanIndex& index = *chart_->index();
  const Timeline& t = index.timeline();
  QString table = QStringLiteral("rank,name,ranks_like_it,stream,what,seconds\n");
  for (const view::SpanIndex::Lane& lane : index.lanes()) {
    if (!lane.works) continue;
    const QString head = QStringLiteral("%1,%2,%3,%4,")
                             .arg(lane.rank)
                             .arg(csv_field(lane.rank < t.ranks.size() ? words(t.ranks[lane.rank]) : QString()))
                             .arg(lane.rank < t.weights.size() ? t.weights[lane.rank] : 1)
                             .arg(csv_field(lane.stream < t.streams.size() ? words(t.streams[lane.stream]) : QString()));
    const auto add = [&](const QString& what, Picoseconds time) {
      if (time.v > 0) table += head + QStringLiteral("%1,%2\n").arg(what).arg(to_seconds(time).v, 0, 'g', 12);
    };
    for (std::size_t s = 0; s < view::kSlots; ++s) add(words(view::slot_name(s)), lane.totals.work[s]);
    add(QStringLiteral("waiting"), lane.totals.waited());
  }
  return table;
}

// --- Keys ----------------------------------------------------------------------------------------------------------------------------------------

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

bool TimelinePage::eventFilter(QObject* watched, QEvent* event) {
  if (watched == search_ && event->type() == QEvent::KeyPress) {
    const auto* key = static_cast<const QKeyEvent*>(event);
    if (key->key() == Qt::Key_Escape) {
      // Out of the field first, with what was found; another Esc, in the chart, ends the search.
      chart_->setFocus();
      return true;
    }
    if ((key->key() == Qt::Key_Return || key->key() == Qt::Key_Enter) && (key->modifiers() & Qt::ShiftModifier) != 0) {
      go_to_match(false);
      return true;
    }
  }
  return Page::eventFilter(watched, event);
}

}  // namespace orrery::gui

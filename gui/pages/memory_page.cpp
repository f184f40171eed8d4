#include "gui/pages/memory_page.h"

#include <fmt/format.h>

#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QPushButton>
#include <QRadioButton>
#include <QScrollArea>
#include <QScrollBar>
#include <QSplitter>
#include <QStyle>
#include <QTableView>
#include <QVBoxLayout>
#include <algorithm>

#include "app/command_line.h"
#include "app/span_story.h"
#include "core/quantity_text.h"
#include "gui/charts/memory_chart.h"
#include "gui/models/holdings_model.h"
#include "gui/state/view_state.h"

namespace orrery::gui {
namespace {

QString words(const std::string& s) { return QString::fromStdString(s); }
QString bytes(std::int64_t b) { return words(format_bytes(Bytes{b})); }

view::StepCurve curve_of(const Timeline& timeline, std::uint32_t rank) {
  view::StepCurve out;
  for (const MemorySample& s : timeline.memory)
    if (s.rank == rank) {
      out.times.push_back(s.time);
      out.values.push_back(static_cast<double>(s.bytes));
    }
  return out;
}

// Of all recorded ranks, in one pass. Without a program they go by their own names.
std::vector<StagesChart::Row> rows_of(const program::Program* program, const Timeline& timeline) {
  std::vector<StagesChart::Row> rows;
  std::vector<std::int32_t> row_of(timeline.ranks.size(), -1);
  std::vector<std::size_t> of_stage(program ? program->roles.size() : 0);
  for (std::size_t r = 0; r < timeline.ranks.size(); ++r) {
    if (timeline.ranks[r].empty()) continue;
    const auto rank = static_cast<std::uint32_t>(r);
    row_of[r] = static_cast<std::int32_t>(rows.size());
    StagesChart::Row row;
    row.rank = rank;
    row.label = words(timeline.ranks[r]);
    if (program) {
      const std::size_t stage = program->stage_of(rank);
      ++of_stage[stage];
      std::int64_t layers = 0;
      for (const program::Chunk& chunk : program->roles[stage].chunks) layers += chunk.layers;
      row.label =
          program->roles.size() > 1 ? QObject::tr("pp%1, %2 layers").arg(stage).arg(layers) : QObject::tr("all stages, %1 layers").arg(layers);
    }
    const std::int64_t weight = r < timeline.weights.size() ? timeline.weights[r] : 1;
    row.note = weight > 1 ? QObject::tr("%1 stands for %L2 ranks").arg(words(timeline.ranks[r])).arg(weight) : words(timeline.ranks[r]);
    rows.push_back(std::move(row));
  }
  for (StagesChart::Row& row : rows)  // where a stage has several, its name alone does not tell them apart
    if (program && of_stage[program->stage_of(row.rank)] > 1) row.label = words(timeline.ranks[row.rank]);
  for (const MemorySample& s : timeline.memory) {
    if (s.rank >= row_of.size() || row_of[s.rank] < 0) continue;
    StagesChart::Row& row = rows[static_cast<std::size_t>(row_of[s.rank])];
    row.live.times.push_back(s.time);
    row.live.values.push_back(static_cast<double>(s.bytes));
    row.peak = std::max(row.peak, s.bytes);
  }
  return rows;
}

}  // namespace

MemoryPage::MemoryPage(ViewState& state, QWidget* parent) : Page(state, "memory", tr("Memory"), parent) {
  auto* left = new QWidget;
  auto* left_layout = new QVBoxLayout(left);
  left_layout->setContentsMargins(12, 12, 0, 12);
  auto* stages_title = new QLabel(tr("Peak by stage"));
  stages_title->setObjectName("section");
  left_layout->addWidget(stages_title);
  stages_ = new StagesChart;
  auto* scroll = new QScrollArea;
  scroll->setWidgetResizable(true);
  scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  scroll->setWidget(stages_);
  scroll->setFocusPolicy(Qt::NoFocus);
  left_layout->addWidget(scroll, 1);

  auto* right = new QWidget;
  auto* layout = new QVBoxLayout(right);
  layout->setContentsMargins(12, 12, 12, 12);
  auto* head = new QHBoxLayout;
  title_ = new QLabel;
  title_->setObjectName("section");
  verdict_ = new QLabel;
  head->addWidget(title_);
  head->addStretch(1);
  head->addWidget(verdict_);
  layout->addLayout(head);

  auto* split = new QSplitter(Qt::Vertical);
  split->setChildrenCollapsible(false);
  chart_ = new MemoryChart;
  chart_->setMinimumHeight(160);
  split->addWidget(chart_);
  auto* below = new QWidget;
  auto* below_layout = new QVBoxLayout(below);
  below_layout->setContentsMargins(0, 8, 0, 0);
  auto* row = new QHBoxLayout;
  at_peak_ = new QRadioButton(tr("At the &peak"));
  at_cursor_ = new QRadioButton(tr("At the &cursor"));
  at_cursor_->setToolTip(tr("The cursor follows the pointer in every chart over time"));
  at_peak_->setChecked(true);
  when_ = new QLabel;
  when_->setObjectName("dim");
  when_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  when_->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred);
  go_ = new QPushButton(tr("Show in the &timeline"));
  go_->setToolTip(tr("Moves the timeline to this time"));
  row->addWidget(at_peak_);
  row->addWidget(at_cursor_);
  row->addStretch(1);
  row->addWidget(go_);
  below_layout->addLayout(row);
  below_layout->addWidget(when_);
  table_ = new QTableView;
  table_->setAccessibleName(tr("What memory holds"));
  model_ = new HoldingsModel(this);
  table_->setModel(model_);
  table_->verticalHeader()->hide();
  table_->verticalHeader()->setDefaultSectionSize(table_->fontMetrics().height() + 6);
  table_->setShowGrid(false);
  table_->setAlternatingRowColors(true);
  table_->setSelectionBehavior(QAbstractItemView::SelectRows);
  table_->setSelectionMode(QAbstractItemView::SingleSelection);
  table_->setTabKeyNavigation(false);
  table_->horizontalHeader()->setHighlightSections(false);
  table_->horizontalHeader()->setSectionResizeMode(QHeaderView::ResizeToContents);
  table_->horizontalHeader()->setSectionResizeMode(HoldingsModel::kBuffer, QHeaderView::Stretch);
  below_layout->addWidget(table_);
  split->addWidget(below);
  split->setStretchFactor(0, 3);
  split->setStretchFactor(1, 2);
  split->setSizes({360, 240});
  layout->addWidget(split, 1);

  auto* both = new QSplitter(Qt::Horizontal);
  both->setChildrenCollapsible(false);
  both->addWidget(left);
  both->addWidget(right);
  both->setStretchFactor(1, 1);
  both->setSizes({240, 800});
  auto* all = new QHBoxLayout(this);
  all->setContentsMargins(0, 0, 0, 0);
  all->addWidget(both);

  connect(&state, &ViewState::answer_changed, this, &MemoryPage::refresh);
  connect(&state, &ViewState::timeline_changed, this, &MemoryPage::refresh);
  connect(&state, &ViewState::rank_changed, this, [this] {
    if (!picking_) rank_chosen_ = true;  // here or elsewhere
    refresh();
  });
  connect(&state, &ViewState::measured_changed, this, &MemoryPage::show_figures);
  connect(&state, &ViewState::cursor_changed, this, &MemoryPage::show_cursor);
  connect(&state, &ViewState::range_changed, this, [this] {
    if (isVisible()) chart_->set_range(this->state().range());
  });
  connect(stages_, &StagesChart::chosen, this, [this](std::uint32_t rank) {
    rank_chosen_ = true;
    this->state().set_rank(rank);
    refresh();
  });
  connect(chart_, &TimeChart::hovered, this, [this](Picoseconds time) { this->state().set_cursor(time); });
  connect(chart_, &TimeChart::range_wanted, this, [this](const auto& range) { this->state().set_range(range); });
  connect(chart_, &TimeChart::clicked, this, [this](Picoseconds time, QPointF at) {
    if (!figures_) return;
    if (std::abs(at.x() - chart_->plot().left() - chart_->axis().pixel(peak())) <= 7)
      show_peak();
    else
      this->state().set_cursor(time), at_cursor_->setChecked(true);
  });
  connect(at_peak_, &QRadioButton::toggled, this, &MemoryPage::show_cursor);
  connect(go_, &QPushButton::clicked, this, [this] {
    if (!figures_) return;
    show_peak();
    this->state().go_to("timeline");
  });
  show_figures();
  dim_when_stale(this, true);
}

QList<const Chart*> MemoryPage::charts() const { return {chart_, stages_}; }

void MemoryPage::showEvent(QShowEvent* event) {
  Page::showEvent(event);
  refresh();
  chart_->set_range(state().range());
  show_cursor();
}

void MemoryPage::refresh() {
  if (!isVisible()) return;
  const std::shared_ptr<const Timeline> timeline = state().timeline();
  if (!timeline) {
    work_.forget();
    asked_.reset(), figures_.reset();
    show_figures();
    return;
  }
  const std::uint32_t wanted = state().rank();
  const bool unknown = state().trace() && state().last_good() && state().last_good() != asked_answer_;  // it may be of this plan
  if (timeline == asked_ && wanted == asked_rank_ && !unknown) return;
  const std::shared_ptr<const Figures> before = figures_ && figures_->timeline == timeline && !unknown ? figures_ : nullptr;
  const bool chosen = rank_chosen_, trace = state().trace().has_value();
  // A trace may be of the plan that is asked: then that says what the bytes are.
  const std::shared_ptr<const Answer> answer = trace ? state().last_good() : state().shown();
  asked_ = timeline, asked_rank_ = wanted, asked_answer_ = answer;
  work_.ask([this, answer, timeline, trace, wanted, chosen, before]() -> std::function<void()> {
    auto out = std::make_shared<Figures>();
    out->timeline = timeline;
    if (before)
      out->explored = before->explored;
    else if (answer && answer->explored && (!trace || app::of_program(*answer->explored, *timeline)))
      out->explored = answer->explored;
    const program::Program* program = out->explored ? &out->explored->program : nullptr;
    out->rows = before ? before->rows : rows_of(program, *timeline);
    // The rank that was asked for, if it was recorded; otherwise the one that stands for its stage; unless somebody chose, the fullest.
    std::uint32_t rank = wanted;
    const auto recorded = [&](std::uint32_t r) { return r < timeline->ranks.size() && !timeline->ranks[r].empty(); };
    if (!out->rows.empty() && (!chosen || !recorded(rank))) {
      auto row = std::max_element(out->rows.begin(), out->rows.end(), [](const auto& a, const auto& b) { return a.peak < b.peak; });
      if (chosen && program && wanted < program->ranks())
        for (auto r = out->rows.begin(); r != out->rows.end(); ++r)
          if (program->stage_of(r->rank) == program->stage_of(wanted)) row = r;
      rank = row->rank;
    }
    for (std::size_t i = 0; i < out->rows.size(); ++i)
      if (out->rows[i].rank == rank) out->row = i;
    if (program) try {
        out->story = std::make_shared<app::MemoryStory>(app::memory_story(*program, *timeline, out->explored->report.capacity, rank));
      } catch (const Error& e) {
        out->why = words(e.what());
      }
    return [this, out, rank] {
      figures_ = out;
      if (!rank_chosen_ && !out->rows.empty()) {  // whoever looks at one rank looks at the one on show here
        asked_rank_ = rank;
        picking_ = true;
        state().set_rank(rank);
        picking_ = false;
      }
      show_figures();
    };
  });
}

void MemoryPage::show_nothing(const QString& why) {
  title_->setText(tr("Memory"));
  verdict_->clear();
  when_->clear();
  stages_->show({}, {}, {});
  chart_->show(nullptr, {}, why);
  model_->show({});
}

// How much is live, for what a trace knows.
void MemoryPage::show_trace_alone() {
  const Figures& f = *figures_;
  const StagesChart::Row& row = f.rows[f.row];
  Picoseconds end = f.timeline->step;
  if (row.live.size() > 0) end = std::max(end, row.live.times.back());
  stages_->show(f.rows, {}, end);
  stages_->choose(row.rank);
  chart_->set_whole(end);
  chart_->set_range(state().range());
  chart_->show_alone(row.live);
  title_->setText(tr("Memory of %1, as the trace has it").arg(row.label));
  verdict_->setObjectName("dim");
  verdict_->style()->unpolish(verdict_), verdict_->style()->polish(verdict_);
  verdict_->setText(tr("at most %1").arg(bytes(row.peak)));
  model_->show({});
  show_cursor();
}

void MemoryPage::show_figures() {
  const Figures* f = figures_.get();
  const bool any = f != nullptr && f->story != nullptr;
  const bool alone = f != nullptr && !f->story && state().trace() && f->row < f->rows.size() && f->rows[f->row].live.size() > 0;
  for (QWidget* w : {static_cast<QWidget*>(at_peak_), static_cast<QWidget*>(at_cursor_), static_cast<QWidget*>(table_)}) w->setEnabled(any);
  go_->setEnabled(any || alone);
  if (alone) return show_trace_alone();
  if (!any) {
    QString why = tr("It appears when the plan has been simulated.");
    if (f && state().trace()) why = tr("The trace has no samples of memory.");
    if (state().answer() && !state().answer()->explored && !f) why = tr("This plan cannot be compiled: the Setup page says why and offers a mend.");
    if (f && !f->why.isEmpty()) why = f->why;
    return show_nothing(why);
  }
  const app::MemoryStory& story = *f->story;
  Picoseconds end = f->timeline->step;
  for (const app::MemoryStory::Sample& s : story.samples) end = std::max(end, s.time);
  stages_->show(f->rows, story.capacity, end);
  stages_->choose(static_cast<std::uint32_t>(story.rank));
  chart_->set_whole(end);
  chart_->set_range(state().range());
  const std::optional<Other>& measured = state().measured();
  chart_->show(f->story, measured ? curve_of(*measured->timeline, static_cast<std::uint32_t>(story.rank)) : view::StepCurve{});
  const std::int64_t peak = story.samples[story.peak].total(), spare = story.capacity.v - peak;
  title_->setText(state().trace() ? tr("Memory of %1, as the trace has it").arg(words(story.label)) : tr("Memory of %1").arg(words(story.label)));
  const bool fits = spare >= 0;
  verdict_->setObjectName(fits ? "good" : "bad");
  verdict_->style()->unpolish(verdict_), verdict_->style()->polish(verdict_);
  verdict_->setText(fits ? tr("%1 of %2: fits, %3 to spare").arg(bytes(peak), bytes(story.capacity.v), bytes(spare))
                         : tr("%1 of %2: does not fit, %3 too much").arg(bytes(peak), bytes(story.capacity.v), bytes(-spare)));
  show_cursor();
}

Picoseconds MemoryPage::peak() const {
  if (figures_->story) return figures_->story->samples[figures_->story->peak].time;
  const view::StepCurve& live = figures_->rows[figures_->row].live;
  return live.times[static_cast<std::size_t>(std::max_element(live.values.begin(), live.values.end()) - live.values.begin())];
}

std::size_t MemoryPage::sample() const {
  const app::MemoryStory& story = *figures_->story;
  return at_cursor_->isChecked() && state().cursor() ? story.at(*state().cursor()) : story.peak;
}

void MemoryPage::show_cursor() {
  if (!isVisible()) return;
  chart_->set_cursor(state().cursor());
  stages_->set_cursor(state().cursor());
  if (figures_ && !figures_->story && go_->isEnabled())
    when_->setText(tr("A trace says how much memory holds, not what: where it is of the plan that is asked, the plan says that."));
  when_->setToolTip(when_->text());
  if (!figures_ || !figures_->story) return;
  const app::MemoryStory& story = *figures_->story;
  const std::size_t s = sample();
  when_->setText(tr("%1 at %2 – %3")
                     .arg(bytes(story.samples[s].total()), words(format_seconds(story.samples[s].time)),
                          words(app::occasion(figures_->explored->program, story, s))));
  when_->setToolTip(when_->text());
  model_->show(app::holdings(story, s));
}

void MemoryPage::show_peak() {
  at_peak_->setChecked(true);
  const Picoseconds when = peak(), step = figures_->timeline->step;
  state().set_cursor(when);
  const Picoseconds around{std::max<std::int64_t>(step.v / 50, view::TimeAxis::kClosest.v)};
  state().set_range(ViewState::Range{std::max(Picoseconds{0}, when - around), when + around});
}

std::optional<QString> MemoryPage::csv() const {
  if (!figures_) return std::nullopt;
  if (!figures_->story) {
    if (!go_->isEnabled()) return std::nullopt;
    const StagesChart::Row& row = figures_->rows[figures_->row];
    std::string out = "rank,time_s,bytes\r\n";
    for (std::size_t i = 0; i < row.live.size(); ++i)
      out += fmt::format("{},{:.12g},{:.0f}\r\n", row.rank, to_seconds(row.live.times[i]).v, row.live.values[i]);
    return words(out);
  }
  std::string out = "rank,time_s,buffer,category,bytes,instances\r\n";
  const app::MemoryStory& story = *figures_->story;
  const std::size_t s = sample();
  for (const app::Holding& h : app::holdings(story, s))
    out += fmt::format("{},{:.12g},\"{}\",{},{},{}\r\n", story.rank, to_seconds(story.samples[s].time).v, h.name, app::name(h.category), h.bytes,
                       h.instances);
  return words(out);
}

QString MemoryPage::command() const {
  if (state().trace()) return trace_command();
  if (!figures_ || !figures_->story) return Page::command();
  const Picoseconds time = at_cursor_->isChecked() && state().cursor() ? *state().cursor() : peak();
  return words(
      app::command_line(shown_question(), "simulate", {"--at", fmt::format("{}ps", time.v), "--rank", std::to_string(figures_->story->rank)}));
}

}  // namespace orrery::gui

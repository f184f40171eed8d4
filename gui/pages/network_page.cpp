#include "gui/pages/network_page.h"

#include <fmt/format.h>

#include <QHBoxLayout>
#include <QHeaderView>
#include <QItemSelectionModel>
#include <QLabel>
#include <QRadioButton>
#include <QSlider>
#include <QSplitter>
#include <QTableView>
#include <QVBoxLayout>
#include <algorithm>
#include <cmath>

#include "app/command_line.h"
#include "app/span_story.h"
#include "core/quantity_text.h"
#include "gui/models/link_models.h"
#include "gui/state/view_state.h"

namespace orrery::gui {
namespace {

constexpr int kSliderSteps = 1000;

QString words(const std::string& s) { return QString::fromStdString(s); }

QTableView* make_table(QAbstractItemModel* model, const QString& name) {
  auto* table = new QTableView;
  table->setAccessibleName(name);
  table->setModel(model);
  table->verticalHeader()->hide();
  table->verticalHeader()->setDefaultSectionSize(table->fontMetrics().height() + 6);
  table->setShowGrid(false);
  table->setAlternatingRowColors(true);
  table->setSelectionBehavior(QAbstractItemView::SelectRows);
  table->setSelectionMode(QAbstractItemView::SingleSelection);
  table->setTabKeyNavigation(false);
  table->horizontalHeader()->setHighlightSections(false);
  table->horizontalHeader()->setSectionResizeMode(QHeaderView::ResizeToContents);
  table->setWordWrap(false);
  return table;
}

// A node by what its devices do, where they do the same part.
std::vector<TopologyChart::Node> nodes_of(const program::Program& program, const std::vector<app::AlikeNodes>& kinds, std::int64_t node_size) {
  // A few nodes are all drawn; of many those that are alike once.
  constexpr std::int64_t kFew = 16;
  std::vector<TopologyChart::Node> out;
  std::int64_t nodes = 0;
  for (const app::AlikeNodes& k : kinds) nodes += k.alike;
  std::vector<app::AlikeNodes> drawn = kinds;
  if (nodes <= kFew) {
    drawn.clear();
    for (std::int64_t n = 0; n < nodes; ++n) drawn.push_back({n, 1});
  }
  for (const app::AlikeNodes& k : drawn) {
    const std::int64_t first = k.node * node_size, last = std::min(program.ranks(), first + node_size) - 1;
    const QString number = QObject::tr("node %1").arg(k.node);
    QString part;
    if (last < first) {
      part = QObject::tr("idle");
    } else if (program.roles.size() > 1) {
      const std::size_t a = program.stage_of(first), b = program.stage_of(last);
      part = a == b ? QStringLiteral("pp%1").arg(a) : QStringLiteral("pp%1–%2").arg(std::min(a, b)).arg(std::max(a, b));
    }
    out.push_back({{k.node, k.alike}, part.isEmpty() ? number : part, part.isEmpty() ? QString() : number});
  }
  return out;
}

}  // namespace

NetworkPage::NetworkPage(ViewState& state, QWidget* parent) : Page(state, "network", tr("Network"), parent) {
  auto* left = new QWidget;
  auto* left_layout = new QVBoxLayout(left);
  left_layout->setContentsMargins(12, 12, 12, 12);
  auto* head = new QHBoxLayout;
  over_step_ = new QRadioButton(tr("Over the &step"));
  at_cursor_ = new QRadioButton(tr("At the &cursor"));
  over_step_->setToolTip(tr("Bytes of the whole step by what links could carry meanwhile"));
  at_cursor_->setToolTip(tr("What flows at the time where the cursor stands in every chart over time"));
  over_step_->setChecked(true);
  slider_ = new QSlider(Qt::Horizontal);
  slider_->setRange(0, kSliderSteps);
  slider_->setObjectName("cursor");
  slider_->setAccessibleName(tr("Time in the step"));
  slider_->setToolTip(tr("Moves the cursor through the step"));
  time_ = new QLabel;
  time_->setObjectName("dim");
  time_->setMinimumWidth(time_->fontMetrics().horizontalAdvance(QStringLiteral("000.0 ms")));
  time_->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
  head->addWidget(over_step_);
  head->addWidget(at_cursor_);
  head->addWidget(slider_, 1);
  head->addWidget(time_);
  left_layout->addLayout(head);
  chart_ = new TopologyChart;
  chart_->setMinimumSize(320, 240);
  left_layout->addWidget(chart_, 1);
  note_ = new QLabel(
      tr("Rank r is on device r. Each communication is priced as if it were alone: where several use a link at once, its load may be above "
         "100 %, and they would slow each other down."));
  note_->setObjectName("dim");
  note_->setWordWrap(true);
  left_layout->addWidget(note_);

  auto* right = new QWidget;
  auto* right_layout = new QVBoxLayout(right);
  right_layout->setContentsMargins(12, 12, 12, 12);
  hot_title_ = new QLabel(tr("Hot links"));
  hot_title_->setObjectName("section");
  hot_ = new HotLinksModel(this);
  hot_table_ = make_table(hot_, tr("Hot links"));
  uses_title_ = new QLabel;
  uses_title_->setObjectName("section");
  uses_title_->setWordWrap(true);
  uses_ = new LinkUsesModel(this);
  uses_table_ = make_table(uses_, tr("What loads the link"));
  hot_table_->horizontalHeader()->setSectionResizeMode(HotLinksModel::kAxes, QHeaderView::Stretch);
  uses_table_->horizontalHeader()->setSectionResizeMode(LinkUsesModel::kAlgorithm, QHeaderView::Stretch);
  right_layout->addWidget(hot_title_);
  right_layout->addWidget(hot_table_, 3);
  right_layout->addWidget(uses_title_);
  right_layout->addWidget(uses_table_, 2);

  auto* both = new QSplitter(Qt::Horizontal);
  both->setChildrenCollapsible(false);
  both->addWidget(left);
  both->addWidget(right);
  both->setStretchFactor(0, 3);
  both->setStretchFactor(1, 2);
  both->setSizes({580, 520});
  auto* all = new QHBoxLayout(this);
  all->setContentsMargins(0, 0, 0, 0);
  all->addWidget(both);

  connect(&state, &ViewState::answer_changed, this, &NetworkPage::refresh);
  connect(&state, &ViewState::timeline_changed, this, &NetworkPage::refresh);
  connect(&state, &ViewState::cursor_changed, this, &NetworkPage::refresh_moment);
  connect(over_step_, &QRadioButton::toggled, this, [this] {
    refresh_moment();
    show_load();
  });
  connect(slider_, &QSlider::valueChanged, this, [this](int value) {
    if (selecting_ || !figures_) return;
    const Picoseconds step = figures_->timeline->step;
    at_cursor_->setChecked(true);
    this->state().set_cursor(Picoseconds{static_cast<std::int64_t>(static_cast<double>(step.v) * value / kSliderSteps)});
  });
  connect(chart_, &TopologyChart::chosen, this, &NetworkPage::choose);
  connect(hot_table_->selectionModel(), &QItemSelectionModel::currentRowChanged, this, [this](const QModelIndex& row) {
    if (selecting_ || !row.isValid()) return;
    const app::HotLink& link = hot_->links()[static_cast<std::size_t>(row.row())];
    choose(link.level, link.device);
  });
  show_figures();
  dim_when_stale(this, true);
}

QList<const Chart*> NetworkPage::charts() const { return {chart_}; }

void NetworkPage::showEvent(QShowEvent* event) {
  Page::showEvent(event);
  refresh();
  refresh_moment();
}

void NetworkPage::refresh() {
  if (!isVisible()) return;
  const std::shared_ptr<const Timeline> timeline = state().timeline();
  const bool trace = state().trace().has_value();
  // Which links a trace's communication takes, the plan that is asked says, where the trace is of it.
  const std::shared_ptr<const Answer> answer = trace ? state().last_good() : state().shown();
  if (!timeline || !answer) {
    work_.forget();
    asked_.reset(), figures_.reset(), moment_.reset();
    show_figures();
    return;
  }
  if (timeline == asked_) return;
  asked_ = timeline;
  work_.ask([this, timeline, trace, explored = answer->explored]() -> std::function<void()> {
    if (trace && !app::of_program(*explored, *timeline))
      return [this] {
        figures_.reset(), moment_.reset();
        show_figures();
      };
    auto out = std::make_shared<Figures>();
    const Cluster& cluster = explored->inputs.cluster;
    out->explored = explored, out->timeline = timeline;
    auto traffic = std::make_shared<app::NetworkTraffic>(explored->program, cluster);
    auto load = std::make_shared<app::NetworkLoad>(traffic->of_step(timeline->step));
    out->hot = app::links_by_load(*load);
    out->nodes = nodes_of(explored->program, traffic->nodes(*load), load->levels.empty() ? cluster.node_size : load->levels.front().domain);
    out->traffic = std::move(traffic), out->step = std::move(load);
    return [this, out] {
      figures_ = out;
      moment_.reset();
      show_figures();
      refresh_moment();
    };
  });
}

void NetworkPage::refresh_moment() {
  if (!isVisible()) return;
  const std::optional<Picoseconds> cursor = state().cursor();
  if (figures_) {
    const Picoseconds step = figures_->timeline->step;
    selecting_ = true;
    slider_->setValue(
        cursor && step.v > 0 ? static_cast<int>(std::lround(static_cast<double>(cursor->v) / static_cast<double>(step.v) * kSliderSteps)) : 0);
    selecting_ = false;
  }
  time_->setText(cursor ? words(format_seconds(*cursor)) : tr("no cursor"));
  if (!at_cursor_->isChecked() || !figures_) return;
  const Picoseconds time = cursor.value_or(Picoseconds{0});
  if (moment_ && moment_->time == time) {
    moment_work_.forget();  // of a time in between
    return;
  }
  const std::shared_ptr<const Figures> figures = figures_;
  moment_work_.ask([this, figures, time]() -> std::function<void()> {
    auto out = std::make_shared<Moment>();
    out->time = time;
    auto load = std::make_shared<app::NetworkLoad>(figures->traffic->at(*figures->timeline, time));
    out->hot = app::links_by_load(*load);
    out->load = std::move(load);
    return [this, out, figures] {
      if (figures != figures_) return;
      moment_ = out;
      show_load();
    };
  });
}

void NetworkPage::show_figures() {
  const bool any = figures_ != nullptr;
  for (QWidget* w : {static_cast<QWidget*>(over_step_), static_cast<QWidget*>(at_cursor_), static_cast<QWidget*>(slider_)}) w->setEnabled(any);
  if (!any) {
    QString why = tr("It appears when the plan has been simulated.");
    if (state().trace())
      why = tr(
          "A trace says what its ranks sent, and only its plan over which links: this one is not of the plan that is asked. Open its plan, then the "
          "trace again.");
    else if (state().answer() && !state().answer()->explored)
      why = tr("This plan cannot be compiled: the Setup page says why and offers a mend.");
    chart_->show({}, nullptr, why);
    hot_->show({}, nullptr);
    uses_->show({});
    uses_title_->clear();
    chosen_.reset();
    return;
  }
  if (chosen_ && (chosen_->level >= figures_->step->levels.size() || chosen_->device >= figures_->step->devices)) chosen_.reset();
  uses_->show({});
  show_load();
  if (!chosen_ && !figures_->hot.empty() && figures_->hot.front().load > 0)
    chosen_ = TopologyChart::Link{figures_->hot.front().level, figures_->hot.front().device};
  if (chosen_)
    choose(chosen_->level, chosen_->device);
  else
    uses_->show({}), uses_title_->setText(tr("Nothing is sent: there is one device, or all work by themselves"));
}

void NetworkPage::show_load() {
  if (!figures_) return;
  const bool moment = at_cursor_->isChecked() && moment_;
  const std::shared_ptr<const app::NetworkLoad>& load = moment ? moment_->load : figures_->step;
  chart_->show(figures_->nodes, load);
  selecting_ = true;
  hot_->show(moment ? moment_->hot : figures_->hot, load);
  selecting_ = false;
  hot_title_->setText(moment ? (hot_->rowCount() > 0 ? tr("Hot links at %1").arg(words(format_seconds(moment_->time)))
                                                     : tr("Nothing flows at %1").arg(words(format_seconds(moment_->time))))
                             : tr("Hot links over the step"));
  if (chosen_) choose(chosen_->level, chosen_->device);
}

void NetworkPage::choose(std::size_t level, std::int64_t device) {
  if (!figures_ || level >= figures_->step->levels.size() || device < 0 || device >= figures_->step->devices) return;
  const bool changed = chosen_ != TopologyChart::Link{level, device};
  chosen_ = TopologyChart::Link{level, device};
  chart_->choose(chosen_);
  const app::NetworkLoad& load = *figures_->step;
  uses_title_->setText(tr("%1 of device %2: %3 of its bandwidth over the step")
                           .arg(words(load.levels[level].name))
                           .arg(device)
                           .arg(words(format_percent(load.load(level, device)))));
  if (changed || uses_->rowCount() == 0) uses_->show(figures_->traffic->uses(device, level));
  // The row of the links that carry what this one does.
  const NetworkPage::Moment* moment = at_cursor_->isChecked() ? moment_.get() : nullptr;
  const app::NetworkLoad& shown = moment ? *moment->load : load;
  const auto d = static_cast<std::size_t>(device);
  const auto& links = hot_->links();
  const auto same = [](const app::ByAxis& a, const app::ByAxis& b) {
    for (std::size_t i = 0; i < app::kTrafficAxes; ++i)
      if (std::llround(a[i]) != std::llround(b[i])) return false;
    return true;
  };
  const auto row = std::find_if(links.begin(), links.end(), [&](const app::HotLink& l) {
    return l.level == level && same(l.sent, shown.levels[level].sent[d]) && same(l.received, shown.levels[level].received[d]);
  });
  selecting_ = true;
  if (row != links.end())
    hot_table_->selectRow(static_cast<int>(row - links.begin()));
  else
    hot_table_->clearSelection();
  selecting_ = false;
}

QString NetworkPage::command() const {
  if (state().trace()) return {};
  if (at_cursor_->isChecked() && moment_)
    return words(app::command_line(shown_question(), "simulate", {"--at", fmt::format("{}ps", moment_->time.v)}));
  return words(app::command_line(shown_question(), "simulate", {"--explain"}));
}

QString NetworkPage::without_command() const {
  return tr("no command lays a trace on the links of a plan; for the prediction, take the trace away and copy again");
}

std::optional<QString> NetworkPage::csv() const {
  if (!figures_) return std::nullopt;
  const bool moment = at_cursor_->isChecked() && moment_;
  const app::NetworkLoad& load = moment ? *moment_->load : *figures_->step;
  std::string out =
      fmt::format("link,device,alike,load,sent_{0},received_{0},tp_{0},cp_{0},ep_{0},pp_{0},dp_{0}\r\n", moment ? "bytes_per_s" : "bytes");
  for (const app::HotLink& l : moment ? moment_->hot : figures_->hot) {
    const app::ByAxis& busier = app::sum(l.sent) >= app::sum(l.received) ? l.sent : l.received;
    out += fmt::format("{},{},{},{:.6g},{:.0f},{:.0f}", load.levels[l.level].name, l.device, l.alike, l.load, app::sum(l.sent), app::sum(l.received));
    for (const double amount : busier) out += fmt::format(",{:.0f}", amount);
    out += "\r\n";
  }
  return words(out);
}

}  // namespace orrery::gui

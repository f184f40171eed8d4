#include "gui/pages/compare_page.h"

#include <fmt/format.h>

#include <QComboBox>
#include <QFileDialog>
#include <QFileInfo>
#include <QGridLayout>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QPushButton>
#include <QSignalBlocker>
#include <QSortFilterProxyModel>
#include <QSplitter>
#include <QTableView>
#include <algorithm>
#include <cmath>

#include "app/command_line.h"
#include "core/error.h"
#include "core/quantity_text.h"
#include "gui/charts/waterfall_chart.h"
#include "gui/models/difference_table.h"
#include "gui/pages/table_look.h"
#include "gui/state/view_state.h"

namespace orrery::gui {
namespace {

QString of(const std::string& text) { return QString::fromStdString(text); }

}  // namespace

ComparePage::ComparePage(ViewState& state, QWidget* parent) : Page(state, "compare", tr("Compare"), parent) {
  auto* page = new QVBoxLayout(this);
  page->setContentsMargins(14, 10, 14, 10);
  page->setSpacing(8);
  auto* choice = new QHBoxLayout;
  const auto side = [&](const QString& letter, QComboBox*& box, QPushButton*& open) {
    auto* label = new QLabel(letter);
    label->setObjectName("section");
    box = new QComboBox;
    box->setAccessibleName(tr("side %1").arg(letter));
    box->setToolTip(tr("What stands on side %1").arg(letter));
    box->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
    box->setMinimumContentsLength(24);
    label->setBuddy(box);
    open = new QPushButton(tr("File…"));
    open->setAccessibleName(tr("open a file for side %1").arg(letter));
    open->setToolTip(tr("A plan (it is simulated), a trace, or what “orrery simulate --json” and “orrery run --json” print"));
    choice->addWidget(label);
    choice->addWidget(box, 1);
    choice->addWidget(open);
  };
  side(tr("A"), a_, open_a_);
  swap_ = new QPushButton(tr("⇄"));
  swap_->setAccessibleName(tr("swap sides"));
  swap_->setToolTip(tr("Swaps the sides"));
  swap_->setMaximumWidth(40);
  choice->addWidget(swap_);
  side(tr("B"), b_, open_b_);
  page->addLayout(choice);

  headline_ = new QLabel;
  headline_->setObjectName("title");
  headline_->setAccessibleName(tr("headline"));
  headline_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  note_ = new QLabel;
  note_->setObjectName("dim");
  note_->setWordWrap(true);
  page->addWidget(headline_);
  page->addWidget(note_);

  waterfall_ =
      new WaterfallChart(tr("Nothing to compare yet"), tr("Choose two steps above: their waterfalls, their differences and their memory stand here"));
  bridge_ = new BridgeChart;
  memory_ = new MemoryPairsChart;
  table_ = new DifferenceTable(this);
  auto* sorted = new QSortFilterProxyModel(this);
  sorted->setSourceModel(table_);
  sorted->setSortRole(DifferenceTable::kSortRole);
  view_ = new QTableView;
  view_->setModel(sorted);
  view_->setAccessibleName(tr("differences"));
  set_up_table(*view_);
  view_->sortByColumn(DifferenceTable::difference, Qt::DescendingOrder);
  view_->horizontalHeader()->setSectionResizeMode(DifferenceTable::name, QHeaderView::Stretch);
  rows_ = new QComboBox;
  rows_->addItems({tr("operators"), tr("classes of work"), tr("waterfall"), tr("memory by stage")});
  rows_->setAccessibleName(tr("rows of the table"));
  auto* rows_line = new QHBoxLayout;
  auto* rows_label = new QLabel(tr("Differences, largest first, of"));
  rows_label->setBuddy(rows_);
  rows_line->addWidget(rows_label);
  rows_line->addWidget(rows_);
  rows_line->addStretch(1);
  auto* below = new QWidget;
  auto* column = new QVBoxLayout(below);
  column->setContentsMargins(0, 4, 6, 0);
  column->addLayout(rows_line);
  column->addWidget(view_, 1);

  auto* upper = new QSplitter(Qt::Horizontal);
  upper->addWidget(waterfall_);
  upper->addWidget(bridge_);
  upper->setSizes({640, 430});
  auto* lower = new QSplitter(Qt::Horizontal);
  lower->addWidget(below);
  lower->addWidget(memory_);
  lower->setSizes({640, 430});
  auto* split = new QSplitter(Qt::Vertical);
  split->addWidget(upper);
  split->addWidget(lower);
  split->setSizes({360, 240});
  lower_ = lower;
  for (QSplitter* each : {upper, lower, split}) each->setChildrenCollapsible(false);
  auto* body = new QWidget;
  auto* whole = new QVBoxLayout(body);
  whole->setContentsMargins(0, 0, 0, 0);
  whole->addWidget(split);
  page->addWidget(body, 1);
  dim_when_stale(body);

  for (QComboBox* box : {a_, b_}) connect(box, &QComboBox::currentIndexChanged, this, &ComparePage::compare);
  connect(rows_, &QComboBox::currentIndexChanged, this, &ComparePage::show_rows);
  connect(swap_, &QPushButton::clicked, this, [this] { choose(b_->currentData().toString(), a_->currentData().toString()); });
  for (const bool for_a : {true, false})
    connect(for_a ? open_a_ : open_b_, &QPushButton::clicked, this, [this, for_a] {
      auto* dialog = new QFileDialog(this, tr("A plan, a trace, or the JSON of a simulation or a run"));
      dialog->setAttribute(Qt::WA_DeleteOnClose);
      dialog->setNameFilters({tr("JSON (*.json)"), tr("All files (*)")});
      connect(dialog, &QFileDialog::fileSelected, this, [this, for_a](const QString& file) { open(file, for_a); });
      dialog->open();
    });
  connect(&loading_, &Job::failed, this, [this](const Error& error) { this->state().say(error); });
  connect(&loading_, &Job::finished, this, [this] {
    for (QPushButton* button : {open_a_, open_b_}) button->setEnabled(true);
  });
  // A pair that another page gives, a pin or a run is what one wants to see now.
  connect(&state, &ViewState::compared_changed, this, [this] {
    gather();
    choose("given a", "given b");
  });
  connect(&state, &ViewState::pin_changed, this, [this] {
    gather();
    if (this->state().pinned()) choose("pinned", "current");
  });
  connect(&state, &ViewState::run_changed, this, [this] {
    gather();
    if (this->state().run() && !this->state().run()->result.steps.empty()) choose("predicted", "measured");
  });
  connect(&state, &ViewState::answer_changed, this, [this] {
    stale_ = true;
    if (isVisible()) gather();
  });
  gather();
}

ComparePage::~ComparePage() { loading_.cancel(); }

void ComparePage::showEvent(QShowEvent* event) {
  Page::showEvent(event);
  if (stale_) gather();
}

void ComparePage::gather() {
  stale_ = false;
  std::vector<Source> sources;
  const auto add = [&](const QString& key, const QString& title, app::Summary summary, double capacity, std::optional<app::Operand> operand = {}) {
    summary.label = title.toStdString();  // the charts say which is which
    sources.push_back({key, title, std::move(summary), capacity, std::move(operand)});
  };
  const auto answer = [&](const std::shared_ptr<const Answer>& of_what, const QString& key, const QString& title) {
    if (!of_what || !of_what->report()) return;
    const app::SimulateReport& r = *of_what->report();
    add(key, title + ": " + of(r.label), r.summary, static_cast<double>(r.capacity.v), app::Operand{{}, of_what->question});
  };
  answer(state().pinned(), "pinned", tr("pinned"));
  answer(state().answer() && state().answer()->report() ? state().answer() : state().last_good(), "current", tr("the question"));
  if (const auto& pair = state().compared()) {
    const double capacity = state().search() ? static_cast<double>(state().search()->inputs.cluster.device.memory.v) : 0;
    const auto& operands = state().compared_operands();
    add("given a", of(pair->first.label), pair->first, capacity, operands ? std::optional(operands->first) : std::nullopt);
    add("given b", of(pair->second.label), pair->second, capacity, operands ? std::optional(operands->second) : std::nullopt);
  }
  if (const auto& run = state().run(); run && !run->result.steps.empty()) {
    add("predicted", tr("predicted: ") + of(run->predicted.label), run->predicted.summary, 0);
    add("measured", tr("measured: ") + of(run->measured.label), run->measured, 0);
  }
  sources.insert(sources.end(), files_.begin(), files_.end());
  sources_ = std::move(sources);
  const QString a = a_->currentData().toString(), b = b_->currentData().toString();
  for (QComboBox* box : {a_, b_}) {
    const QSignalBlocker silent(box);
    box->clear();
    for (const Source& source : sources_) box->addItem(source.title, source.key);
    if (sources_.size() < (box == a_ ? 1 : 2)) box->addItem(tr("nothing yet"));
    box->setEnabled(box->count() > 1);
  }
  choose(a, b);
}

void ComparePage::choose(const QString& a, const QString& b) {
  const auto put = [&](QComboBox* box, const QString& key, int otherwise) {
    const QSignalBlocker silent(box);
    const int at = box->findData(key);
    box->setCurrentIndex(at >= 0 ? at : std::min(otherwise, box->count() - 1));
  };
  put(a_, a, 0);
  put(b_, b, 1);
  compare();
}

const ComparePage::Source* ComparePage::chosen(const QComboBox* box) const {
  const auto it = std::find_if(sources_.begin(), sources_.end(), [&](const Source& s) { return s.key == box->currentData().toString(); });
  return it == sources_.end() ? nullptr : &*it;
}

void ComparePage::compare() {
  const Source *a = chosen(a_), *b = chosen(b_);
  report_.reset();
  if (a != nullptr && b != nullptr && a != b) report_ = app::compare(a->summary, b->summary);
  swap_->setEnabled(report_.has_value());
  waterfall_->show_report(report_);
  bridge_->show_report(report_);
  memory_->show_report(report_, report_ && a->capacity == b->capacity ? a->capacity : 0);
  note_->setVisible(!report_);
  lower_->setVisible(report_.has_value());
  bridge_->setVisible(report_.has_value());
  if (!report_) {
    headline_->setText(tr("Two steps side by side"));
    note_->setText(
        tr("Pin the present answer (Ctrl+P), then change the question: before and after stand here. Two plans of a search, a prediction and "
           "its run, or files can be compared as well."));
  } else {
    const double before = to_seconds(report_->a.step).v, after = to_seconds(report_->b.step).v;
    headline_->setText(before == after ? tr("A and B take the same time")
                                       : tr("B takes %1 %2 than A%3")
                                             .arg(of(format_seconds(Seconds{std::abs(after - before)})), after > before ? tr("longer") : tr("less"),
                                                  before > 0 ? of(fmt::format(" ({:+.1f} %)", 100 * (after - before) / before)) : QString()));
  }
  show_rows();
  show_staleness();
}

bool ComparePage::stale() const { return Page::stale() && (a_->currentData() == "current" || b_->currentData() == "current"); }

void ComparePage::show_rows() {
  const int which = rows_->currentIndex();
  if (!report_)
    table_->show_rows({}, false);
  else
    table_->show_rows(which == 0   ? report_->operators
                      : which == 1 ? report_->classes
                      : which == 2 ? report_->waterfall
                                   : report_->memory,
                      which == 3);
  for (int c = 1; c < DifferenceTable::columns; ++c) {
    view_->resizeColumnToContents(c);
    view_->setColumnWidth(c, view_->columnWidth(c) + 10);
  }
}

void ComparePage::open(const QString& file, bool for_a) {
  if (loading_.running()) return;
  for (QPushButton* button : {open_a_, open_b_}) button->setEnabled(false);
  app::PlanFlags flags;
  flags.profile = state().question().profile;
  loading_.start([this, file, for_a, flags](Job::Control& control) {
    const app::Operand operand{file.toStdString(), flags};
    const app::Summary summary = app::load_operand(operand);
    control.post([this, file, for_a, summary, operand] {
      const QString key = "file " + file;
      std::erase_if(files_, [&](const Source& s) { return s.key == key; });
      files_.push_back({key, QFileInfo(file).fileName(), summary, 0, operand});
      gather();
      choose(for_a ? key : a_->currentData().toString(), for_a ? b_->currentData().toString() : key);
    });
  });
}

QList<const Chart*> ComparePage::charts() const { return {waterfall_, bridge_, memory_}; }

std::optional<QString> ComparePage::csv() const {
  if (!report_) return std::nullopt;
  QString out = "table,part,a,b,difference,unit\r\n";
  const auto add = [&](const char* table, const std::vector<app::Row>& rows, const char* unit) {
    for (const app::Row& row : rows)
      out += of(fmt::format("{},{},{:.9g},{:.9g},{:.9g},{}\r\n", table, row.name, row.a, row.b, row.difference(), unit));
  };
  add("waterfall", report_->waterfall, "s");
  add("classes", report_->classes, "s");
  add("operators", report_->operators, "s");
  add("memory", report_->memory, "bytes");
  return out;
}

QString ComparePage::command() const {
  const Source *a = chosen(a_), *b = chosen(b_);
  if (a == nullptr || b == nullptr || !a->operand || !b->operand) return {};
  return of(app::shell_line(app::compare_words(*a->operand, *b->operand)));
}

QString ComparePage::without_command() const {
  if (!report_) return tr("there is nothing to compare yet");
  return tr(
      "a run is a measurement, which no command makes twice: “orrery run … --report run.json” (the Run page's command) keeps one, and “orrery "
      "compare … --with run.json” lays it beside a plan");
}

QString ComparePage::caption() const {
  return report_ ? tr("%3.   A: %1   B: %2").arg(of(report_->a.label), of(report_->b.label), headline_->text()) : QString();
}

bool ComparePage::settled() const { return !loading_.running(); }

}  // namespace orrery::gui

#include "gui/pages/plans_page.h"

#include <QAction>
#include <QComboBox>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QMenu>
#include <QPushButton>
#include <QRegularExpression>
#include <QSettings>
#include <QSortFilterProxyModel>
#include <QSpinBox>
#include <QSplitter>
#include <QStackedWidget>
#include <QTableView>
#include <QTreeView>
#include <algorithm>

#include "app/command_line.h"
#include "app/simulate.h"
#include "core/error.h"
#include "core/plan_json.h"
#include "core/quantity_text.h"
#include "gui/charts/scatter_chart.h"
#include "gui/models/plan_table.h"
#include "gui/models/refused_tree.h"
#include "gui/pages/job_bar.h"
#include "gui/pages/table_look.h"
#include "gui/state/view_state.h"

namespace orrery::gui {

// Sorts by numbers, and keeps the rows whose plan has all words of a text: "tp=8" is a word of the plan's own, anything else may be within one.
class PlanFilter : public QSortFilterProxyModel {
 public:
  explicit PlanFilter(QObject* parent) : QSortFilterProxyModel(parent) { setSortRole(PlanTable::kSortRole); }
  void set_words(const QString& text) {
    words_ = text.split(' ', Qt::SkipEmptyParts);
    invalidateFilter();
  }

 protected:
  bool filterAcceptsRow(int row, const QModelIndex& parent) const override {
    const QStringList has = sourceModel()->index(row, 0, parent).data(Qt::ToolTipRole).toString().split(' ');
    return std::all_of(words_.begin(), words_.end(), [&](const QString& word) {
      return std::any_of(has.begin(), has.end(), [&](const QString& own) {
        return word.contains('=') ? own.compare(word, Qt::CaseInsensitive) == 0 : own.contains(word, Qt::CaseInsensitive);
      });
    });
  }

 private:
  QStringList words_;
};

namespace {

QString of(const std::string& text) { return QString::fromStdString(text); }

struct FieldText {
  const char *name, *title, *empty, *tip;
  int width;
};
constexpr FieldText kFields[] = {
    {"tp", "tp", "all", "Tensor parallelism: values to try, e.g. 1, 2, 4; empty: every divisor of the devices up to one node", 70},
    {"pp", "pp", "all", "Ranks in a pipeline: values to try; empty: all that divide the rest, up to the layers", 70},
    {"vp", "vp", "usual", "Pieces of the model on each rank of the pipeline: values to try; empty: the fewest that a schedule is useful with", 70},
    {"micro", "micro-batch", "all", "Sequences in a micro-batch: values to try; empty: all that divide the sequences of a replica", 80},
    {"schedule", "schedule", "1f1b, gpipe", "Schedules to try; empty: 1f1b and gpipe", 150},
    {"recompute", "recompute", "none, full", "What to compute again in the backward pass: kinds to try (none, selective, full)", 90},
    {"zero", "ZeRO", "0, 1", "What to shard over the replicas: stages to try, 0 to 3", 60},
};

QStringList words_of(const QLineEdit* edit) {
  static const QRegularExpression apart(QStringLiteral("[,;\\s]+"));
  return edit->text().split(apart, Qt::SkipEmptyParts);
}

std::vector<std::int64_t> numbers_of(const QLineEdit* edit, const char* name) {
  std::vector<std::int64_t> out;
  for (const QString& word : words_of(edit)) {
    bool ok = false;
    out.push_back(word.toLongLong(&ok));
    if (!ok) throw Error(name, "'" + word.toStdString() + "' is not a whole number", "write values like 1, 2, 4; or nothing, to try all");
  }
  return out;
}

std::vector<std::string> texts_of(const QLineEdit* edit) {
  std::vector<std::string> out;
  for (const QString& word : words_of(edit)) out.push_back(word.toStdString());
  return out;
}

}  // namespace

PlansPage::PlansPage(ViewState& state, QWidget* parent) : Page(state, "plans", tr("Plans"), parent) {
  auto* page = new QVBoxLayout(this);
  page->setContentsMargins(14, 10, 14, 10);
  page->setSpacing(8);

  auto* axes = new QHBoxLayout;
  axes->setSpacing(6);
  auto* vary = new QLabel(tr("Vary"));
  vary->setObjectName("section");
  axes->addWidget(vary);
  for (const FieldText& field : kFields) {
    auto* label = new QLabel(tr(field.title));
    label->setObjectName("dim");
    auto* edit = new QLineEdit;
    edit->setPlaceholderText(tr(field.empty));
    edit->setToolTip(tr(field.tip));
    edit->setAccessibleName(QStringLiteral("values of ") + field.title);
    edit->setMinimumWidth(field.width * 2 / 3);
    edit->setMaximumWidth(field.width * 2);
    label->setBuddy(edit);
    axes->addWidget(label);
    axes->addWidget(edit, field.width);
    fields_.emplace_back(field.name, edit);
    connect(edit, &QLineEdit::returnPressed, this, &PlansPage::search);
  }
  auto* keep_label = new QLabel(tr("keep"));
  keep_label->setObjectName("dim");
  keep_ = new QSpinBox;
  keep_->setRange(1, 1000);
  keep_->setValue(30);
  keep_->setAccessibleName(tr("plans to keep"));
  keep_->setToolTip(tr("A plan whose bound says that this many others are faster is not simulated: more show more of the picture, and take longer"));
  axes->addWidget(keep_label);
  axes->addWidget(keep_);
  page->addLayout(axes);

  bar_ = new JobBar(searching_, tr("Search"));
  bar_->start_button()->setToolTip(tr("Simulates every plan that may be among the fastest (Ctrl+Return)"));
  page->addWidget(bar_);

  table_ = new PlanTable(this);
  filter_ = new PlanFilter(this);
  filter_->setSourceModel(table_);
  view_ = new QTableView;
  view_->setModel(filter_);
  view_->setAccessibleName(tr("plans"));
  set_up_table(*view_);
  view_->sortByColumn(PlanTable::rank, Qt::AscendingOrder);
  view_->setSelectionMode(QAbstractItemView::ExtendedSelection);
  view_->horizontalHeader()->setContextMenuPolicy(Qt::ActionsContextMenu);

  filter_text_ = new QLineEdit;
  filter_text_->setPlaceholderText(tr("Filter: tp=8 1f1b"));
  filter_text_->setClearButtonEnabled(true);
  filter_text_->setAccessibleName(tr("filter"));
  filter_text_->setToolTip(tr("Words that the plan must have: tp=8 pp=4 interleaved"));
  filter_text_->setMaximumWidth(200);
  connect(filter_text_, &QLineEdit::textChanged, filter_, &PlanFilter::set_words);
  use_ = new QPushButton(tr("Use this plan"));
  use_->setToolTip(tr("Makes the plan the question; undo takes it back (Enter)"));
  compare_ = new QPushButton(tr("Compare"));
  auto* columns = new QPushButton(tr("Columns"));
  columns->setToolTip(tr("What the table shows; a right click on its header does the same"));
  auto* menu = new QMenu(columns);
  columns->setMenu(menu);
  chosen_columns_.resize(PlanTable::columns, false);
  for (int c = 0; c < PlanTable::columns; ++c) {
    QAction* action = menu->addAction(table_->headerData(c, Qt::Horizontal).toString());
    action->setToolTip(table_->headerData(c, Qt::Horizontal, Qt::ToolTipRole).toString());
    action->setCheckable(true);
    columns_.push_back(action);
    view_->horizontalHeader()->addAction(action);
    connect(action, &QAction::triggered, this, [this, c](bool on) {
      chosen_columns_[static_cast<std::size_t>(c)] = true;
      view_->setColumnHidden(c, !on);
      fit_columns();
    });
  }
  menu->setToolTipsVisible(true);

  auto* left = new QWidget;
  auto* left_column = new QVBoxLayout(left);
  left_column->setContentsMargins(0, 0, 0, 0);
  auto* tools = new QHBoxLayout;
  tools->addWidget(use_);
  tools->addWidget(compare_);
  tools->addStretch(1);
  tools->addWidget(filter_text_);
  tools->addWidget(columns);
  left_column->addLayout(tools);
  stack_ = new QStackedWidget;
  nothing_ = new QLabel;
  nothing_->setObjectName("dim");
  nothing_->setAlignment(Qt::AlignCenter);
  nothing_->setWordWrap(true);
  nothing_->setMargin(20);
  stack_->addWidget(nothing_);
  stack_->addWidget(view_);
  left_column->addWidget(stack_, 1);

  auto* right = new QWidget;
  auto* right_column = new QVBoxLayout(right);
  right_column->setContentsMargins(8, 0, 0, 0);
  auto* choice = new QHBoxLayout;
  x_ = new QComboBox;
  y_ = new QComboBox;
  for (QComboBox* box : {x_, y_})
    for (const planner::Figure figure : planner::kFigures) box->addItem(QString::fromUtf8(planner::name(figure).data()));
  x_->setCurrentIndex(static_cast<int>(planner::Figure::time));
  y_->setCurrentIndex(static_cast<int>(planner::Figure::memory));
  x_->setAccessibleName(tr("across"));
  y_->setAccessibleName(tr("up"));
  auto* against = new QLabel(tr("against"));
  against->setObjectName("dim");
  choice->addWidget(y_);
  choice->addWidget(against);
  choice->addWidget(x_);
  choice->addStretch(1);
  right_column->addLayout(choice);
  scatter_ = new ScatterChart;
  right_column->addWidget(scatter_, 1);

  auto* upper = new QSplitter(Qt::Horizontal);
  upper->addWidget(left);
  upper->addWidget(right);
  upper->setStretchFactor(0, 3);
  upper->setStretchFactor(1, 2);
  upper->setSizes({640, 430});
  upper->setChildrenCollapsible(false);

  refused_ = new RefusedTree(this);
  tree_ = new QTreeView;
  tree_->setModel(refused_);
  tree_->setAccessibleName(tr("plans that were not chosen"));
  tree_->setUniformRowHeights(true);
  tree_->setStyleSheet(QStringLiteral("QTreeView::item { padding: 3px 0; }"));
  tree_->header()->setStretchLastSection(true);
  auto* lower = new QWidget;
  auto* lower_column = new QVBoxLayout(lower);
  lower_column->setContentsMargins(0, 4, 0, 0);
  about_ = new QLabel;
  about_->setObjectName("dim");
  about_->setWordWrap(true);
  about_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  lower_column->addWidget(about_);
  lower_column->addWidget(tree_, 1);
  auto* split = new QSplitter(Qt::Vertical);
  split->addWidget(upper);
  split->addWidget(lower);
  split->setStretchFactor(0, 3);
  split->setStretchFactor(1, 1);
  split->setSizes({420, 170});
  split->setChildrenCollapsible(false);
  page->addWidget(split, 1);

  connect(bar_, &JobBar::wanted, this, &PlansPage::search);
  for (QComboBox* box : {x_, y_}) connect(box, &QComboBox::currentIndexChanged, this, &PlansPage::show_points);
  connect(view_->selectionModel(), &QItemSelectionModel::selectionChanged, this, &PlansPage::show_selection);
  connect(view_, &QTableView::activated, this, &PlansPage::use_selected);
  connect(use_, &QPushButton::clicked, this, &PlansPage::use_selected);
  connect(compare_, &QPushButton::clicked, this, &PlansPage::compare_selected);
  connect(scatter_, &ScatterChart::picked, this, [this](std::size_t ranked, bool add) {
    const QModelIndex at = filter_->mapFromSource(table_->index(static_cast<int>(ranked), 0));
    if (!at.isValid()) return this->state().say(tr("The filter hides that plan"));
    view_->selectionModel()->select(at, (add ? QItemSelectionModel::Toggle : QItemSelectionModel::ClearAndSelect) | QItemSelectionModel::Rows);
    view_->selectionModel()->setCurrentIndex(at, QItemSelectionModel::NoUpdate);
    view_->scrollTo(at);
  });
  connect(scatter_, &ScatterChart::activated, this, [this](std::size_t /*ranked*/) { use_selected(); });
  connect(&searching_, &Job::failed, this, [this](const Error& error) { bar_->say(QString::fromUtf8(error.what()), true); });
  connect(&comparing_, &Job::failed, this, [this](const Error& error) { this->state().say(error); });
  connect(&comparing_, &Job::finished, this, &PlansPage::show_selection);
  connect(&state, &ViewState::search_changed, this, &PlansPage::show_report);
  connect(&state, &ViewState::answer_changed, this, &PlansPage::propose);
  propose();
  show_report();
}

PlansPage::~PlansPage() {
  searching_.cancel();
  comparing_.cancel();
}

void PlansPage::propose() {
  const auto& answer = state().answer();
  if (!answer || !answer->inputs) return;
  const Plan& plan = answer->inputs->plan;
  for (const auto& [name, edit] : fields_) {
    if (edit->isModified()) continue;
    const std::string field = name;
    if (field == "vp") edit->setText(plan.parallel.vp > 1 ? QString("1, %1").arg(plan.parallel.vp) : QString());
    if (field == "schedule") {
      QStringList list{"1f1b"};
      if (plan.schedule != "1f1b" && plan.schedule != "csv") list << of(plan.schedule);
      if (!list.contains("interleaved")) list << "interleaved";
      edit->setText(list.join(", "));
    }
    if (field == "recompute") {
      QStringList list{"none", "full"};
      if (!list.contains(of(plan.recompute.kind))) list << of(plan.recompute.kind);
      edit->setText(list.join(", "));
    }
    if (field == "zero") edit->setText(plan.sharding.zero > 1 ? QString("0, 1, %1").arg(plan.sharding.zero) : QString("0, 1"));
  }
}

planner::Space PlansPage::space() const {
  planner::Space space;
  for (const auto& [name, edit] : fields_) {
    const std::string field = name;
    const bool given = !words_of(edit).isEmpty();
    if (field == "tp") space.tp = numbers_of(edit, name);
    if (field == "pp") space.pp = numbers_of(edit, name);
    if (field == "vp") space.vp = numbers_of(edit, name);
    if (field == "micro") space.micro = numbers_of(edit, name);
    if (field == "schedule") space.schedule = texts_of(edit);
    if (field == "recompute" && given) space.recompute = texts_of(edit);
    if (field == "zero" && given) space.zero = numbers_of(edit, name);
  }
  return space;
}

void PlansPage::search() {
  if (searching_.running()) return;
  planner::Space space;
  app::PlanFlags from;
  try {
    space = this->space();
    from = app::searching_from(state().question());
  } catch (const Error& e) {
    bar_->say(QString::fromUtf8(e.what()), true);
    return;
  }
  bar_->say({});
  const auto top = static_cast<std::size_t>(keep_->value());
  searching_.start([this, space, from, top](Job::Control& control) {
    planner::Options options;
    options.top = top;
    options.keep_all = options.bound_refused = true;
    options.cancel = control.cancel();
    options.progress = [&](std::int64_t done, std::int64_t of) {
      // The first half looks at every plan, the second simulates those that may be worth it.
      control.progress(done, of, done < of / 2 ? "looking at the plans" : "simulating the promising ones");
    };
    const app::Inputs inputs = app::load_inputs(from);
    auto report = std::make_shared<app::PlanReport>(app::plan(inputs, space, options));
    control.post([this, from, plan = inputs.plan, report] {
      asked_ = from;
      asked_plan_ = plan;
      state().set_search(report);
    });
  });
  bar_->refresh();
}

void PlansPage::show_report() {
  const auto& report = state().search();
  table_->show_report(report);
  refused_->show_report(report);
  for (int c = 0; c < PlanTable::columns; ++c) {
    const auto at = static_cast<std::size_t>(c);
    if (!chosen_columns_[at]) columns_[at]->setChecked(table_->worth_showing(c));
    view_->setColumnHidden(c, !columns_[at]->isChecked());
  }
  fit_columns();
  const bool any = report && !report->outcome.ranked.empty();
  stack_->setCurrentIndex(any ? 1 : 0);
  if (!report) {
    nothing_->setText(tr("Search for plans of this model on this cluster with the same batch.\nEverything else stays as the question has it."));
    about_->setText(tr("What is refused, and why, appears here."));
  } else {
    const planner::Outcome& o = report->outcome;
    nothing_->setText(of(planner::why_none(o)) + tr(": what came nearest stands below"));
    const Plan& plan = report->inputs.plan;
    about_->setText(tr("%1 on %2, %3 sequences of %4 tokens a step: %5 plans, %6 simulated, %7 refused, %8 ruled out by a bound%9")
                        .arg(of(report->inputs.model.name), of(plan.cluster))
                        .arg(plan.batch.global)
                        .arg(plan.batch.sequence)
                        .arg(o.enumerated)
                        .arg(o.simulated)
                        .arg(o.refused.size())
                        .arg(o.pruned.size())
                        .arg(o.not_reached > 0 ? tr(", %1 not reached").arg(o.not_reached) : QString()));
    bar_->say(o.cancelled ? tr("Stopped: the table holds the best of what was simulated until then")
                          : tr("%1 plans in %2").arg(o.enumerated).arg(of(format_seconds(Seconds{searching_.seconds()}))));
  }
  for (int column : {0, 1}) tree_->resizeColumnToContents(column);
  show_points();
  if (any) view_->selectRow(0);
  show_selection();
}

// As narrow as what they say allows: so that the figures and the plan stand beside one another.
void PlansPage::keep(QSettings& settings) const {
  Page::keep(settings);
  QStringList shown, hidden;
  for (std::size_t c = 0; c < columns_.size(); ++c)
    if (chosen_columns_[c]) (columns_[c]->isChecked() ? shown : hidden) << columns_[c]->text();
  settings.setValue(key() + "/shown", shown);
  settings.setValue(key() + "/hidden", hidden);
}

void PlansPage::arrange(const QSettings& settings) {
  Page::arrange(settings);
  const QStringList shown = settings.value(key() + "/shown").toStringList(), hidden = settings.value(key() + "/hidden").toStringList();
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    chosen_columns_[c] = shown.contains(columns_[c]->text()) || hidden.contains(columns_[c]->text());
    if (chosen_columns_[c]) columns_[c]->setChecked(shown.contains(columns_[c]->text()));
  }
  show_report();
}

void PlansPage::fit_columns() {
  const QFontMetrics metrics = view_->fontMetrics();
  const int rows = std::min(100, table_->rowCount());
  for (int c = 0; c < PlanTable::columns; ++c) {
    int width = metrics.horizontalAdvance(table_->headerData(c, Qt::Horizontal).toString()) + 4;
    for (int row = 0; row < rows; ++row) width = std::max(width, metrics.horizontalAdvance(table_->index(row, c).data().toString()));
    view_->setColumnWidth(c, width + 18);
  }
}

void PlansPage::show_points() {
  const auto& report = state().search();
  if (!report) {
    scatter_->show_plans({}, {}, true);
    return;
  }
  const Cluster& cluster = report->inputs.cluster;
  const auto figure = [](const QComboBox* box) { return planner::kFigures[static_cast<std::size_t>(std::max(0, box->currentIndex()))]; };
  const planner::Figure x = figure(x_), y = figure(y_);
  scatter_->show_plans(
      view::scatter(report->outcome, cluster, x, y),
      [report, x, y](const view::PlanPoint& p) {
        const planner::Outcome& o = report->outcome;
        const auto rejected = [&](const planner::Rejected& r) { return of(planner::label(report->inputs.cluster, r.plan)) + "\n" + of(r.reason); };
        if (p.mark == view::PlanMark::too_large) return rejected(o.refused[p.index]);
        if (p.mark == view::PlanMark::pruned) return rejected(o.pruned[p.index]);
        return QString("#%1  %2\n%3, %4")
            .arg(p.index + 1)
            .arg(of(planner::label(report->inputs.cluster, o.ranked[p.index].plan)), of(planner::text(x, p.at.x)), of(planner::text(y, p.at.y)));
      },
      cluster.price_per_device_hour > 0);
}

std::vector<int> PlansPage::selected() const {
  QModelIndexList rows = view_->selectionModel()->selectedRows();
  std::sort(rows.begin(), rows.end(), [](const QModelIndex& a, const QModelIndex& b) { return a.row() < b.row(); });
  std::vector<int> out;
  for (const QModelIndex& row : rows) out.push_back(filter_->mapToSource(row).row());
  return out;
}

void PlansPage::show_selection() {
  const std::vector<int> rows = selected();
  scatter_->select({rows.begin(), rows.end()});
  use_->setEnabled(rows.size() == 1);
  compare_->setEnabled((rows.size() == 1 || rows.size() == 2) && !comparing_.running());
  compare_->setText(rows.size() == 2 ? tr("Compare the two") : tr("Compare with the question"));
  compare_->setToolTip(rows.size() == 2 ? tr("Lays the two selected plans side by side")
                                        : tr("Lays the question's plan and this one side by side; select two (Ctrl+click) to compare those"));
}

void PlansPage::use_selected() {
  const std::vector<int> rows = selected();
  if (rows.size() != 1 || !state().search()) return;
  try {
    const Plan& plan = table_->candidate(rows[0]).plan;
    state().ask(app::asking_for(asked_, plan), tr("plan %1 of the search").arg(rows[0] + 1));
    state().say(tr("The question is now %1").arg(of(planner::label(state().search()->inputs.cluster, plan))), Tone::good);
  } catch (const Error& e) {
    state().say(e);
  }
}

void PlansPage::compare_selected() {
  const std::vector<int> rows = selected();
  const auto report = state().search();
  if (comparing_.running() || !report || rows.empty() || rows.size() > 2) return;
  struct Side {
    app::Inputs inputs;
    std::string name;
    app::PlanFlags question;
  };
  std::vector<Side> sides;
  if (rows.size() == 1) {
    const auto& answer = state().answer();
    if (!answer || !answer->explored) return state().say(tr("The question has no plan that could be simulated"), Tone::bad);
    sides.push_back({*answer->inputs, "the question's", answer->question});
  }
  for (const int row : rows) {
    const Plan& plan = table_->candidate(row).plan;
    sides.push_back({report->inputs, "plan " + std::to_string(row + 1), app::asking_for(asked_, plan)});
    sides.back().inputs.plan = plan;
  }
  comparing_.start([this, sides](Job::Control& control) {
    std::vector<app::Summary> summaries;
    for (const Side& side : sides) {
      app::SimulateOptions options;
      options.operators = true;
      options.cancel = control.cancel();
      const auto explored = app::explore(side.inputs, options);
      if (!explored) return;
      summaries.push_back(explored->report.summary);
      summaries.back().label = side.name + ": " + summaries.back().label;
    }
    control.post([this, summaries, sides] {
      state().compare(summaries[0], summaries[1], std::pair{app::Operand{{}, sides[0].question}, app::Operand{{}, sides[1].question}});
    });
  });
  show_selection();
}

QList<const Chart*> PlansPage::charts() const { return {scatter_}; }

std::optional<QString> PlansPage::csv() const {
  if (!state().search()) return std::nullopt;
  const auto field = [](QString text) {
    if (text.contains(',') || text.contains('"')) text = '"' + text.replace('"', "\"\"") + '"';
    return text;
  };
  QStringList lines, header;
  std::vector<int> shown;
  for (int c = 0; c < PlanTable::columns; ++c)
    if (!view_->isColumnHidden(c) && c != PlanTable::slower) shown.push_back(c);
  const auto unit = [](int column) {
    switch (column) {
      case PlanTable::step:
        return " (s)";
      case PlanTable::memory:
        return " (bytes)";
      case PlanTable::energy:
        return " (J)";
      case PlanTable::price:
        return " (US dollars)";
      default:
        return "";
    }
  };
  for (const int c : shown) header << field(table_->headerData(c, Qt::Horizontal).toString() + unit(c));
  lines << header.join(',');
  for (int row = 0; row < filter_->rowCount(); ++row) {
    QStringList fields;
    for (const int c : shown) fields << field(filter_->index(row, c).data(PlanTable::kSortRole).toString());
    lines << fields.join(',');
  }
  return lines.join("\r\n") + "\r\n";
}

QString PlansPage::command() const {
  try {
    const app::PlanFlags from = app::searching_from(state().question());
    std::vector<std::string> more;
    for (const auto& [name, edit] : fields_) {
      const QStringList words = words_of(edit);
      if (words.isEmpty()) continue;
      const std::string field = name;
      more.push_back(field == "micro" ? "--micro-batch" : "--" + field);
      more.push_back(words.join(',').toStdString());
    }
    more.insert(more.end(), {"--top", std::to_string(keep_->value())});
    return of(app::command_line(from, "plan", more));
  } catch (const Error&) {
    return {};
  }
}

std::optional<QString> PlansPage::running() const {
  if (searching_.running()) return tr("a search for plans");
  return std::nullopt;
}

void PlansPage::stop() {
  searching_.cancel();
  comparing_.cancel();
}

bool PlansPage::settled() const { return !searching_.running() && !comparing_.running(); }

std::vector<Page::Result> PlansPage::results() const {
  const auto table = csv();
  if (!table) return {};
  std::vector<Result> out{{"plans.csv", table->toStdString()}, {"question.json", write_plan(asked_plan_), true}};
  if (!state().search()->outcome.ranked.empty()) out.push_back({"best.json", write_plan(state().search()->outcome.ranked.front().plan), true});
  return out;
}

}  // namespace orrery::gui

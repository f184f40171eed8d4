#include "gui/pages/sweeps_page.h"

#include <QComboBox>
#include <QCompleter>
#include <QFileDialog>
#include <QFileInfo>
#include <QHBoxLayout>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QRegularExpression>
#include <QSignalBlocker>
#include <QToolButton>
#include <algorithm>
#include <utility>

#include "app/command_line.h"
#include "app/fields.h"
#include "app/mend.h"
#include "core/error.h"
#include "core/files.h"
#include "core/plan_json.h"
#include "core/quantity_text.h"
#include "gui/charts/heat_chart.h"
#include "gui/pages/job_bar.h"
#include "gui/state/view_state.h"
#include "gui/theme.h"

namespace orrery::gui {
namespace {

QString of(const std::string& text) { return QString::fromStdString(text); }
QString of(std::string_view text) { return QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size())); }

// Fields that people vary first; the others come after, in their own order.
constexpr const char* kFirst[] = {"parallel.tp",   "parallel.pp", "batch.micro", "parallel.vp",  "schedule",      "recompute.kind",
                                  "sharding.zero", "parallel.cp", "parallel.ep", "batch.global", "batch.sequence"};
constexpr std::size_t kMostValues = 8;  // suggested; more make a slow sweep

// Values of a field, apart by commas that are not within quotes, brackets or braces: [1,2] is one value.
std::vector<std::string> values_of(const QString& text) {
  std::vector<std::string> out;
  QString word;
  int depth = 0;
  bool quoted = false;
  const auto end = [&] {
    if (!word.trimmed().isEmpty()) out.push_back(word.trimmed().toStdString());
    word.clear();
  };
  for (const QChar c : text) {
    if (c == '"') quoted = !quoted;
    if (!quoted && (c == '[' || c == '{')) ++depth;
    if (!quoted && (c == ']' || c == '}')) --depth;
    if (c == ',' && !quoted && depth == 0)
      end();
    else
      word += c;
  }
  end();
  return out;
}

}  // namespace

SweepsPage::SweepsPage(ViewState& state, QWidget* parent) : Page(state, "sweeps", tr("Sweeps"), parent) {
  auto* page = new QVBoxLayout(this);
  page->setContentsMargins(14, 10, 14, 10);
  page->setSpacing(8);
  auto* grid = new QGridLayout;
  grid->setHorizontalSpacing(6);
  grid->setVerticalSpacing(6);
  grid->setColumnStretch(3, 1);
  const char* first[] = {"parallel.tp", "parallel.pp", ""};
  for (int number = 0; number < 3; ++number) {
    AxisEdit axis = make_axis(number, first[number]);
    auto* label = new QLabel(number == 0 ? tr("Vary") : tr("and"));
    label->setObjectName(number == 0 ? "section" : "dim");
    auto* over = new QLabel(tr("over"));
    over->setObjectName("dim");
    grid->addWidget(label, number, 0);
    grid->addWidget(axis.path, number, 1);
    grid->addWidget(over, number, 2);
    grid->addWidget(axis.values, number, 3);
    grid->addWidget(axis.suggest, number, 4);
    axes_.push_back(axis);
  }
  page->addLayout(grid);

  auto* row = new QHBoxLayout;
  bar_ = new JobBar(sweeping_, tr("Sweep"));
  bar_->start_button()->setToolTip(tr("Simulates every combination (Ctrl+Return)"));
  open_ = new QPushButton(tr("Open results…"));
  open_->setToolTip(tr("The CSV or JSON of “orrery sweep”, or a sweep.json to run"));
  row->addWidget(bar_, 1);
  row->addWidget(open_);
  page->addLayout(row);

  auto* choice = new QHBoxLayout;
  figure_ = new QComboBox;
  x_ = new QComboBox;
  y_ = new QComboBox;
  for (QComboBox* box : {x_, y_}) box->setSizeAdjustPolicy(QComboBox::AdjustToContents);
  figure_->setAccessibleName(tr("figure"));
  x_->setAccessibleName(tr("field across"));
  y_->setAccessibleName(tr("field down"));
  for (const view::SweepFigure figure : view::kSweepFigures) figure_->addItem(of(view::title(figure)));
  const auto dim = [](const QString& text) {
    auto* label = new QLabel(text);
    label->setObjectName("dim");
    return label;
  };
  choice->addWidget(dim(tr("Show")));
  choice->addWidget(figure_);
  choice->addWidget(dim(tr("across")));
  choice->addWidget(x_);
  choice->addWidget(dim(tr("down")));
  choice->addWidget(y_);
  choice->addStretch(1);
  page->addLayout(choice);

  chart_ = new HeatChart;
  page->addWidget(chart_, 1);
  auto* below = new QHBoxLayout;
  cell_ = new QLabel;
  cell_->setAccessibleName(tr("cell"));
  cell_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  cell_->setWordWrap(true);
  use_ = new QPushButton(tr("Make it the question"));
  use_->setToolTip(tr("Asks for the plan of the cell; undo takes it back (a click in the map does the same)"));
  below->addWidget(cell_, 1);
  below->addWidget(use_);
  page->addLayout(below);

  connect(bar_, &JobBar::wanted, this, &SweepsPage::sweep);
  connect(open_, &QPushButton::clicked, this, [this] {
    auto* dialog = new QFileDialog(this, tr("Results of a sweep"));
    dialog->setAttribute(Qt::WA_DeleteOnClose);
    dialog->setNameFilters({tr("Results (*.csv *.json)"), tr("All files (*)")});
    connect(dialog, &QFileDialog::fileSelected, this, &SweepsPage::open);
    dialog->open();
  });
  for (QComboBox* box : {x_, y_, figure_}) connect(box, &QComboBox::currentIndexChanged, this, &SweepsPage::show_map);
  connect(chart_, &HeatChart::current_changed, this, &SweepsPage::show_cell);
  connect(chart_, &HeatChart::activated, this, &SweepsPage::use);
  connect(use_, &QPushButton::clicked, this, [this] {
    if (chart_->current()) use(*chart_->current());
  });
  connect(&sweeping_, &Job::failed, this, [this](const Error& error) { bar_->say(QString::fromUtf8(error.what()), true); });
  connect(&suggesting_, &Job::failed, this, [](const Error& /*error*/) {});  // then there are no suggestions
  connect(&suggesting_, &Job::finished, this, [this] {
    // What was asked for meanwhile comes first; then each field that has no values, once.
    for (int number = 0; number < static_cast<int>(axes_.size()); ++number)
      if (std::exchange(axes_[static_cast<std::size_t>(number)].waits, false)) return suggest(number, true);
    for (int number = 0; number < static_cast<int>(axes_.size()) && !suggesting_.running(); ++number) {
      const AxisEdit& axis = axes_[static_cast<std::size_t>(number)];
      if (axis.values->text().isEmpty() && axis.path->currentText().trimmed().toStdString() != axis.tried) suggest(number, false);
    }
    if (!suggesting_.running() && std::exchange(wanted_, false)) sweep();
  });
  connect(&state, &ViewState::sweep_changed, this, &SweepsPage::show_report);
  connect(&state, &ViewState::table_opened, this, &SweepsPage::open);
  connect(&state, &ViewState::answer_changed, this, &SweepsPage::fill_if_seen);
  fill_if_seen();
  show_report();
}

SweepsPage::~SweepsPage() {
  for (const AxisEdit& axis : axes_) axis.path->disconnect(this);  // losing the focus on the way out, it would still tell
  sweeping_.cancel();
  suggesting_.cancel();
}

SweepsPage::AxisEdit SweepsPage::make_axis(int number, const QString& path) {
  AxisEdit axis;
  axis.path = new QComboBox;
  axis.path->setEditable(true);
  axis.path->setInsertPolicy(QComboBox::NoInsert);
  axis.path->setMinimumContentsLength(22);
  axis.path->setMaximumWidth(280);
  axis.path->setAccessibleName(tr("field %1").arg(number + 1));
  axis.path->setToolTip(tr("A field of the plan, of the cluster (cluster.…) or of the model (model.…), as --set takes it"));
  axis.path->lineEdit()->setPlaceholderText(number < 2 ? tr("field") : tr("a third field, or none"));
  axis.path->completer()->setCompletionMode(QCompleter::PopupCompletion);
  axis.path->completer()->setFilterMode(Qt::MatchContains);
  axis.path->setEditText(path);
  axis.values = new QLineEdit;
  axis.values->setPlaceholderText(tr("values, e.g. 1, 2, 4"));
  axis.values->setAccessibleName(tr("values %1").arg(number + 1));
  axis.suggest = new QToolButton;
  axis.suggest->setText(tr("Suggest"));
  axis.suggest->setToolTip(tr("Values that the question's plan could have, with all else as it is"));
  axis.suggest->setAccessibleName(tr("suggest values %1").arg(number + 1));
  connect(axis.suggest, &QToolButton::clicked, this, [this, number] { suggest(number, true); });
  connect(axis.path, &QComboBox::textActivated, this, [this, number] { suggest(number, true); });
  connect(axis.values, &QLineEdit::returnPressed, this, &SweepsPage::sweep);
  return axis;
}

void SweepsPage::showEvent(QShowEvent* event) {
  Page::showEvent(event);
  fill_paths();
}

void SweepsPage::fill_if_seen() {
  if (isVisible()) fill_paths();
}

void SweepsPage::fill_paths() {
  const auto& answer = state().answer();
  if (!answer || !answer->inputs || answer == filled_) return;
  filled_ = answer;
  QStringList paths;
  for (const char* path : kFirst) paths << path;
  const std::vector<app::EditableField> fields = app::fields(*answer->inputs);
  std::vector<QString> tips;
  for (const app::EditableField& field : fields)
    if (const QString path = of(field.field.path); !paths.contains(path)) paths << path;
  for (const AxisEdit& axis : axes_) {
    QComboBox* box = axis.path;
    if (box->count() == paths.size()) continue;
    const QSignalBlocker silent(box);
    const QString now = box->currentText();
    box->clear();
    box->addItems(paths);
    box->setEditText(now);
  }
  if (axes_.front().tried.empty() && axes_.front().values->text().isEmpty()) suggest(0, false);
}

void SweepsPage::suggest(int number, bool replace) {
  AxisEdit& axis = axes_[static_cast<std::size_t>(number)];
  const std::string path = axis.path->currentText().trimmed().toStdString();
  const auto& answer = state().answer();
  if (path.empty() || !answer || !answer->inputs) return;
  if (suggesting_.running()) {
    axis.waits = axis.waits || replace;
    return;
  }
  axis.tried = path;
  const app::PlanFlags question = answer->question;
  const app::Inputs inputs = *answer->inputs;
  suggesting_.start([this, number, path, question, inputs, replace](Job::Control& control) {
    QStringList values;
    app::LegalOptions options;
    options.with_company = true;  // another axis may bring it
    for (const app::LegalValue& value : app::legal_values(question, inputs, path, options))
      if (values.size() < static_cast<qsizetype>(kMostValues)) values << of(value.value);
    control.post([this, number, path, values, replace] {
      const AxisEdit& edit = axes_[static_cast<std::size_t>(number)];
      if (edit.path->currentText().trimmed().toStdString() != path) return;
      if (replace || edit.values->text().isEmpty()) edit.values->setText(values.join(", "));
      if (values.isEmpty()) edit.values->setPlaceholderText(tr("write the values: none are known for this field"));
    });
  });
}

std::vector<app::SweepAxis> SweepsPage::axes() const {
  std::vector<app::SweepAxis> out;
  for (const AxisEdit& edit : axes_) {
    const std::string path = edit.path->currentText().trimmed().toStdString();
    if (path.empty()) continue;
    app::SweepAxis axis{path, values_of(edit.values->text()), "field"};
    if (axis.values.empty()) throw Error(path, "has no values", "write some, e.g. 1, 2, 4; or press Suggest");
    out.push_back(std::move(axis));
  }
  if (out.empty()) throw Error("Sweep", "there is no field to vary", "choose one, e.g. parallel.tp");
  return out;
}

void SweepsPage::sweep() {
  if (sweeping_.running()) return;
  fill_paths();
  const auto lacks_values = [](const AxisEdit& axis) { return !axis.path->currentText().trimmed().isEmpty() && axis.values->text().isEmpty(); };
  if (suggesting_.running() && std::any_of(axes_.begin(), axes_.end(), lacks_values)) {
    wanted_ = true;  // pressed before the first suggestions were there
    return bar_->say(tr("looking for legal values first"));
  }
  app::Sweep what{state().question(), {}, {}};
  try {
    what.axes = axes();
  } catch (const Error& e) {
    return bar_->say(QString::fromUtf8(e.what()), true);
  }
  bar_->say({});
  sweeping_.start([this, what](Job::Control& control) {
    app::SweepOptions options;
    options.cancel = control.cancel();
    options.progress = [&](std::int64_t done, std::int64_t of_all) {
      control.progress(done, of_all, std::to_string(done) + " of " + std::to_string(of_all));
    };
    const auto report = std::make_shared<const app::SweepReport>(app::sweep(what, options));
    control.post([this, report, base = what.base] {
      base_ = base;
      own_ = true;
      state().set_sweep(report);
    });
  });
  bar_->refresh();
}

void SweepsPage::open(const QString& file) {
  if (sweeping_.running())
    return state().say(tr("A sweep is running: stop it, or open %1 when it is done").arg(QFileInfo(file).fileName()), Tone::bad);
  try {
    const std::string text = read_text_file(file.toStdString());
    if (text.find("\"sweep/1\"") != std::string::npos) {
      const app::Sweep what = app::read_sweep(text, file.toStdString());
      for (std::size_t number = 0; number < axes_.size(); ++number) {
        const bool has = number < what.axes.size();
        QStringList values;
        if (has)
          for (const std::string& value : what.axes[number].values) values << of(value);
        axes_[number].path->setEditText(has ? of(what.axes[number].path) : QString());
        axes_[number].values->setText(values.join(", "));
      }
      app::PlanFlags question = what.base;
      if (question.plan.empty() && question.model.empty()) question = state().question();
      state().ask(question, tr("the sweep's plan"));
      bar_->say(tr("%1: press Sweep to run it").arg(QFileInfo(file).fileName()));
      return;
    }
    const auto report = std::make_shared<const app::SweepReport>(app::read_sweep_report(text, file.toStdString()));
    own_ = false;
    file_ = QFileInfo(file).fileName();
    state().set_sweep(report);
  } catch (const Error& e) {
    state().say(e);
  }
}

void SweepsPage::show_report() {
  const auto& report = state().sweep();
  const auto fill = [&](QComboBox* box, int otherwise) {
    const QSignalBlocker silent(box);
    const QString now = box->currentText();
    box->clear();
    if (report)
      for (const app::SweepAxis& axis : report->axes) box->addItem(of(axis.path));
    const int at = box->findText(now);
    box->setCurrentIndex(at >= 0 ? at : std::min(otherwise, box->count() - 1));
    box->setEnabled(box->count() > 1);
  };
  fill(x_, 0);
  fill(y_, 1);
  if (x_->count() > 1 && x_->currentIndex() == y_->currentIndex()) {
    const QSignalBlocker silent(y_);
    y_->setCurrentIndex(x_->currentIndex() == 0 ? 1 : 0);
  }
  if (report) {
    const auto ok = std::count_if(report->rows.begin(), report->rows.end(), [](const app::SweepRow& r) { return r.status == "ok"; });
    const QString points = tr("%1 points").arg(report->rows.size()), fit = tr("%1 of them fit").arg(ok);
    const QString took = of(format_seconds(Seconds{sweeping_.seconds()}));
    bar_->say(!own_               ? tr("%1: %2, %3").arg(file_, points, fit)
              : report->cancelled ? tr("Stopped: %1 in %2, %3").arg(points, took, fit)
                                  : tr("%1 in %2, %3").arg(points, took, fit));
  }
  show_map();
}

void SweepsPage::show_map() {
  const auto& report = state().sweep();
  if (!report || report->axes.empty() || x_->currentIndex() < 0) {
    chart_->show_map(std::nullopt);
    return;
  }
  std::optional<std::size_t> down;
  if (report->axes.size() > 1 && y_->currentIndex() >= 0) down = static_cast<std::size_t>(y_->currentIndex());
  chart_->show_map(view::heat_map(*report, static_cast<std::size_t>(x_->currentIndex()), down,
                                  view::kSweepFigures[static_cast<std::size_t>(std::max(0, figure_->currentIndex()))]));
}

void SweepsPage::show_cell() {
  const auto& report = state().sweep();
  const auto& map = chart_->map();
  std::optional<std::size_t> at = chart_->current();
  const bool chosen = at.has_value();
  if (!chosen && map) at = map->best;
  if (!report || !map || !at || !map->cells[*at].row) {
    cell_->setText(report ? QString() : tr("Every point is simulated with all else as the question has it."));
    use_->setEnabled(false);
    return;
  }
  const view::HeatCell& cell = map->cells[*at];
  const app::SweepRow& row = report->rows[*cell.row];
  QStringList settings, figures;
  for (std::size_t a = 0; a < report->axes.size(); ++a) settings << of(report->axes[a].path + " = " + row.values[a]);
  for (const view::SweepFigure figure : view::kSweepFigures)
    if (const auto v = view::value(figure, row)) figures << of(view::title(figure)) + " " + of(view::text(figure, *v));
  if (row.status != "ok") figures << of(row.status);
  cell_->setText((chosen ? QString() : tr("Best that fits: ")) + settings.join(", ") + "\n" + figures.join(" · "));
  use_->setEnabled(true);
}

void SweepsPage::use(std::size_t index) {
  const auto& report = state().sweep();
  const auto& map = chart_->map();
  if (!report || !map || !map->cells[index].row) return;
  const app::SweepRow& row = report->rows[*map->cells[index].row];
  // From what was swept; where that is not known, from the present question.
  app::PlanFlags question = own_ ? base_ : state().question();
  QStringList words;
  for (std::size_t a = 0; a < report->axes.size(); ++a) {
    question.settings.push_back(report->axes[a].path + "=" + row.values[a]);
    words << of(report->axes[a].path + " = " + row.values[a]);
  }
  question.settings = app::tidied(question.settings);
  state().ask(std::move(question), words.join(", "));
}

QList<const Chart*> SweepsPage::charts() const { return {chart_}; }

std::optional<QString> SweepsPage::csv() const {
  if (!state().sweep()) return std::nullopt;
  return of(app::to_csv(*state().sweep()));
}

QString SweepsPage::command() const {
  try {
    std::vector<std::string> more;
    for (const app::SweepAxis& axis : axes()) {
      more.emplace_back("--grid");
      std::string text = axis.path + "=";
      for (std::size_t i = 0; i < axis.values.size(); ++i) text += (i > 0 ? "," : "") + axis.values[i];
      more.push_back(std::move(text));
    }
    return of(app::command_line(state().question(), "sweep", more));
  } catch (const Error&) {
    return {};
  }
}

std::optional<QString> SweepsPage::running() const {
  if (sweeping_.running()) return tr("a sweep");
  return std::nullopt;
}

void SweepsPage::stop() { sweeping_.cancel(); }

bool SweepsPage::settled() const { return !sweeping_.running() && !suggesting_.running() && !wanted_; }

std::vector<Page::Result> SweepsPage::results() const {
  if (!own_ || !state().sweep()) return {};
  std::vector<Result> out{{"sweeps.csv", app::to_csv(*state().sweep()), true}};
  try {
    out.push_back({"question.json", write_plan(app::load_inputs(base_).plan), true});
  } catch (const Error&) {  // without the fields that were varied it is no plan, or its file is gone
  }
  return out;
}

}  // namespace orrery::gui

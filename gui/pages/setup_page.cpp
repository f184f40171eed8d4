#include "gui/pages/setup_page.h"

#include <fmt/format.h>

#include <QCheckBox>
#include <QComboBox>
#include <QCompleter>
#include <QFileDialog>
#include <QFrame>
#include <QGridLayout>
#include <QHBoxLayout>
#include <QLabel>
#include <QLineEdit>
#include <QListView>
#include <QPointer>
#include <QPushButton>
#include <QShortcut>
#include <QSignalBlocker>
#include <QStyledItemDelegate>
#include <QTabBar>
#include <QToolButton>
#include <QVBoxLayout>
#include <algorithm>
#include <utility>

#include "core/cluster_json.h"
#include "gui/charts/schedule_chart.h"
#include "gui/models/catalog_model.h"
#include "gui/pages/elided_label.h"
#include "gui/pages/field_list.h"
#include "gui/pages/problems_card.h"
#include "gui/state/view_state.h"
#include "gui/view/edit.h"
#include "program/compile.h"

namespace orrery::gui {
namespace {

constexpr int kSide = 316, kMostChips = 28;
constexpr std::size_t kMostCells = 72;  // of the schedule, on each rank: as many as can be told apart

QString words(const std::string& text) { return QString::fromStdString(text); }

// A name and, behind it, what it is.
class CatalogDelegate : public QStyledItemDelegate {
 public:
  using QStyledItemDelegate::QStyledItemDelegate;

 protected:
  void initStyleOption(QStyleOptionViewItem* option, const QModelIndex& index) const override {
    QStyledItemDelegate::initStyleOption(option, index);
    option->text += QStringLiteral("    ") + index.data(Qt::ToolTipRole).toString();
  }
};

QComboBox* make_combo(CatalogModel* model, const QString& name, const QString& tip) {
  auto* combo = new QComboBox;
  combo->setEditable(true);
  combo->setInsertPolicy(QComboBox::NoInsert);
  combo->setModel(model);
  combo->setAccessibleName(name);
  combo->setToolTip(tip);
  combo->setFocusPolicy(Qt::StrongFocus);
  combo->setFixedWidth(230);
  combo->setMaxVisibleItems(18);
  combo->view()->setItemDelegate(new CatalogDelegate(combo));
  combo->view()->setMinimumWidth(680);
  auto* completer = new QCompleter(model, combo);
  completer->setFilterMode(Qt::MatchContains);
  completer->setCaseSensitivity(Qt::CaseInsensitive);
  completer->popup()->setItemDelegate(new CatalogDelegate(completer));
  completer->popup()->setMinimumWidth(680);
  combo->setCompleter(completer);
  return combo;
}

// The error as an editor's own: the message and the hint, without the address, which is the editor.
QString told(const Error& error) { return words(error.message() + (error.hint().empty() ? "" : "; " + error.hint())); }

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out.append(c == '"' ? 2 : 1, c);
  return out + '"';
}

bool is_document_setting(const std::string& setting, const std::string& document) {
  return setting.starts_with(document + ".") || setting.starts_with(document + "=");
}

}  // namespace

SetupPage::SetupPage(ViewState& state, QWidget* parent) : Page(state, "setup", tr("Setup"), parent) {
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(16, 4, 16, 12);
  column->setSpacing(8);
  column->addWidget(make_documents());
  problems_ = new ProblemsCard(state);
  column->addWidget(problems_);

  auto* halves = new QHBoxLayout;
  halves->setSpacing(16);
  auto* left = new QVBoxLayout;
  left->setSpacing(6);
  auto* bar = new QHBoxLayout;
  bar->setSpacing(12);
  tabs_ = new QTabBar;
  for (const QString& tab : {tr("Plan"), tr("Cluster"), tr("Model")}) tabs_->addTab(tab);
  tabs_->setDrawBase(false);
  tabs_->setExpanding(false);
  tabs_->setAccessibleName(tr("Fields of"));
  bar->addWidget(tabs_);
  bar->addStretch(1);
  only_changed_ = new QCheckBox(tr("only what differs"));
  only_changed_->setToolTip(tr("Fields that do not have their default"));
  bar->addWidget(only_changed_);
  find_ = new QLineEdit;
  find_->setPlaceholderText(tr("find a field  (/)"));
  find_->setAccessibleName(tr("Find a field"));
  find_->setToolTip(tr("Words of its name or of what it does, in plan, cluster and model"));
  find_->setClearButtonEnabled(true);
  find_->setFixedWidth(230);
  bar->addWidget(find_);
  left->addLayout(bar);
  list_ = new FieldList;
  left->addWidget(list_, 1);
  halves->addLayout(left, 1);
  auto* right = new QVBoxLayout;
  right->setSpacing(10);
  schedule_ = new ScheduleChart;
  schedule_->setFixedSize(kSide, 190);
  right->addWidget(schedule_);
  right->addWidget(make_help());
  right->addStretch(1);
  halves->addLayout(right);
  column->addLayout(halves, 1);

  auto* slash = new QShortcut(QKeySequence(Qt::Key_Slash), this);
  slash->setContext(Qt::WidgetWithChildrenShortcut);
  connect(slash, &QShortcut::activated, find_, [this] {
    find_->setFocus(Qt::ShortcutFocusReason);
    find_->selectAll();
  });
  connect(find_, &QLineEdit::textChanged, this, &SetupPage::update_filter);
  connect(only_changed_, &QCheckBox::toggled, this, &SetupPage::update_filter);
  connect(tabs_, &QTabBar::currentChanged, this, [this](int tab) { list_->show_document(static_cast<app::DocumentKind>(tab)); });
  connect(list_, &FieldList::row_made, this, &SetupPage::watch);
  connect(problems_, &ProblemsCard::problems_changed, this, &SetupPage::show_problems);
  connect(problems_, &ProblemsCard::field_wanted, this, [this](const QString& path) {
    find_->clear();
    only_changed_->setChecked(false);
    if (!list_->go_to(path.toStdString())) return;
    show_document(list_->document());
    explain(list_->row(path.toStdString()));
  });
  connect(&state, &ViewState::answer_changed, this, &SetupPage::refresh);
  connect(&state, &ViewState::question_changed, this, [this] {
    document_problem_->hide();
    list_->forget_refusals();
  });
  refresh();
}

QFrame* SetupPage::make_documents() {
  auto* card = new QFrame;
  card->setObjectName("card");
  auto* grid = new QGridLayout(card);
  grid->setContentsMargins(12, 8, 12, 8);
  grid->setHorizontalSpacing(10);
  grid->setVerticalSpacing(5);
  grid->setColumnStretch(3, 1);
  const auto heading = [&](int row, int column, const QString& text, QWidget* buddy) {
    auto* label = new QLabel(text);
    label->setObjectName("section");
    label->setBuddy(buddy);
    grid->addWidget(label, row, column);
  };
  const auto open = [&](const QString& text, const QString& tip) {
    auto* button = new QPushButton(text);
    button->setToolTip(tip);
    connect(button, &QPushButton::clicked, this, [this, text] {
      const QString path = QFileDialog::getOpenFileName(this, text, {}, tr("JSON (*.json);;All files (*)"));
      if (!path.isEmpty()) state().open(path);
    });
    return button;
  };
  models_ = new CatalogModel(this);
  model_ = make_combo(models_, tr("Model"), tr("A shipped model; type to search"));
  model_facts_ = new ElidedLabel;
  model_facts_->setObjectName("dim");
  heading(0, 0, tr("Model"), model_);
  grid->addWidget(model_, 0, 1, 1, 2);
  grid->addWidget(model_facts_, 0, 3);
  grid->addWidget(open(tr("config.json…"), tr("A Hugging Face config.json; or drop it on the window")), 0, 4);

  clusters_ = new CatalogModel(this);
  cluster_ = make_combo(clusters_, tr("Cluster"), tr("A shipped cluster; type to search"));
  cluster_->setFixedWidth(160);
  devices_ = new QLineEdit;
  devices_->setFixedWidth(64);
  devices_->setAccessibleName(tr("Devices"));
  devices_->setToolTip(tr("Devices of the cluster, in whole nodes where there is more than one"));
  cluster_facts_ = new ElidedLabel;
  cluster_facts_->setObjectName("dim");
  heading(1, 0, tr("Cluster"), cluster_);
  grid->addWidget(cluster_, 1, 1);
  grid->addWidget(devices_, 1, 2);
  grid->addWidget(cluster_facts_, 1, 3);
  grid->addWidget(open(tr("cluster.json…"), tr("A description of a cluster; or drop it on the window")), 1, 4);

  plan_file_ = new ElidedLabel;
  profile_ = new ElidedLabel;
  heading(2, 0, tr("Plan"), nullptr);
  auto* line = new QHBoxLayout;
  line->setSpacing(10);
  line->addWidget(plan_file_, 1);
  auto* profile = new QLabel(tr("Profile"));
  profile->setObjectName("section");
  line->addWidget(profile);
  line->addWidget(profile_, 1);
  no_profile_ = new QToolButton;
  no_profile_->setText(QStringLiteral("\u00d7"));
  no_profile_->setAutoRaise(true);
  no_profile_->setToolTip(tr("Without a profile"));
  no_profile_->setAccessibleName(tr("Without a profile"));
  connect(no_profile_, &QToolButton::clicked, this, [this] { this->state().set("profile", ""); });
  line->addWidget(no_profile_);
  line->addWidget(open(tr("profile.json…"), tr("Measurements to price operators with, as 'orrery profile' makes them")));
  grid->addLayout(line, 2, 1, 1, 3);
  grid->addWidget(open(tr("plan.json…"), tr("A plan; or drop it on the window")), 2, 4);
  document_problem_ = new QLabel;
  document_problem_->setObjectName("bad");
  document_problem_->setWordWrap(true);
  document_problem_->hide();
  grid->addWidget(document_problem_, 3, 1, 1, 4);

  connect(model_, &QComboBox::activated, this, [this] { choose_model(model_->currentText()); });
  connect(model_->lineEdit(), &QLineEdit::returnPressed, this, [this] { choose_model(model_->currentText()); });
  const auto cluster = [this] { choose_cluster(cluster_->currentText(), devices_->text()); };
  connect(cluster_, &QComboBox::activated, this, cluster);
  connect(cluster_->lineEdit(), &QLineEdit::returnPressed, this, cluster);
  connect(devices_, &QLineEdit::editingFinished, this, [this, cluster] {
    if (devices_->isModified()) cluster();
  });
  return card;
}

QFrame* SetupPage::make_help() {
  auto* card = new QFrame;
  card->setObjectName("card");
  card->setFixedWidth(kSide);
  card->setAccessibleName(tr("About the field"));
  auto* column = new QVBoxLayout(card);
  column->setContentsMargins(12, 10, 12, 10);
  column->setSpacing(6);
  help_title_ = new QLabel(tr("About a field"));
  help_title_->setObjectName("section");
  help_text_ = new QLabel(tr("Choose one to see what it does and which values are legal with the plan as it is. Arrow keys step through them."));
  help_more_ = new QLabel;
  help_more_->setObjectName("dim");
  for (QLabel* label : {help_title_, help_text_, help_more_}) {
    label->setWordWrap(true);
    label->setTextFormat(Qt::PlainText);
    column->addWidget(label);
  }
  chips_ = new QWidget;
  column->addWidget(chips_);
  return card;
}

QList<const Chart*> SetupPage::charts() const { return {schedule_}; }

std::optional<QString> SetupPage::csv() const {
  const auto& answer = state().answer();
  if (!answer || !answer->inputs) return std::nullopt;
  std::string out = "path,value,default,about\r\n";
  for (const app::EditableField& f : app::fields(*answer->inputs))
    out += fmt::format("{},{},{},{}\r\n", csv_cell(f.field.path), csv_cell(f.field.value), csv_cell(f.field.fallback.value_or("")),
                       csv_cell(f.field.about));
  return words(out);
}

bool SetupPage::settled() const { return problems_->settled() && !pictures_.busy() && !legal_.busy(); }

void SetupPage::showEvent(QShowEvent* event) {
  Page::showEvent(event);
  if (!std::exchange(wanted_, true)) {
    models_->show_entries(view::model_catalog());
    clusters_->show_entries(view::cluster_catalog());
  }
  if (state().answer() != shown_) refresh();
}

void SetupPage::refresh() {
  const std::shared_ptr<const Answer> answer = state().answer();
  if (!wanted_ || !isVisible() || !answer || !answer->inputs) return;
  shown_ = answer;
  const app::Inputs& in = *answer->inputs;
  const app::PlanFlags& question = answer->question;
  {
    const QSignalBlocker a(model_), b(cluster_);
    const view::ClusterName cluster = view::cluster_name(in.plan.cluster);
    const auto put = [](QComboBox* box, const std::string& name) {
      if (box->lineEdit()->hasFocus() && box->lineEdit()->isModified()) return;  // somebody types
      if (box->currentText() == words(name) && box->currentIndex() >= 0) return;
      box->setCurrentIndex(box->findText(words(name)));
      box->setEditText(words(name));
      box->lineEdit()->setCursorPosition(0);
    };
    put(model_, in.plan.model);
    put(cluster_, cluster.name);
    if (!devices_->hasFocus() || !devices_->isModified()) {
      devices_->setText(QString::number(in.cluster.devices));
      devices_->setModified(false);
    }
  }
  model_facts_->setText(words(view::facts(in.model)));
  cluster_facts_->setText(words(view::facts(in.cluster)));
  plan_file_->setText(question.plan.empty() ? tr("made of the fields below") : words(question.plan));
  profile_->setText(question.profile.empty() ? tr("none: shipped figures") : words(question.profile));
  no_profile_->setVisible(!question.profile.empty());
  std::vector<app::EditableField> all = app::fields(in);
  std::erase_if(all, [](const app::EditableField& f) { return f.field.path == "model" || f.field.path == "cluster"; });  // they stand above
  list_->show_fields(std::move(all), [&](const std::string& path) { return view::says(question, path); });
  update_filter();
  show_problems();
  const std::int64_t dp = program::data_parallel(in.cluster, in.plan), at_once = std::max<std::int64_t>(1, in.plan.batch.micro * dp);
  pictures_.ask([this, plan = in.plan, microbatches = std::max<std::int64_t>(1, in.plan.batch.global / at_once)](
                    const std::atomic<bool>* /*cancel*/) -> std::function<void()> {
    view::SchedulePicture picture = view::schedule_picture(plan, microbatches, kMostCells * static_cast<std::size_t>(program::pipeline_ranks(plan)));
    return [this, picture = std::move(picture)] { schedule_->show_picture(picture); };
  });
  if (looked_at_) {
    if (list_->row(looked_at_->field().field.path) == looked_at_)
      explain(looked_at_);
    else
      looked_at_ = nullptr;
  }
}

void SetupPage::show_problems() {
  list_->clear_problems();
  for (const Problem& p : problems_->problems())
    if (FieldRow* row = p.field.empty() ? nullptr : list_->row(p.field); row != nullptr && row->problem().isEmpty())
      row->show_problem(words(p.text), p.mends);
}

void SetupPage::watch(FieldRow* row) {
  connect(row, &FieldRow::committed, this, [this, row](const QString& text) { edit(row, text); });
  connect(row, &FieldRow::typing, this, [this, row](const QString& text) { check(row, text); });
  connect(row, &FieldRow::reset_wanted, this, [this, row] { reset(row); });
  connect(row, &FieldRow::mend_wanted, this, [this](const QStringList& settings) { apply_mend(state(), settings); });
  connect(row, &FieldRow::focused, this, [this, row] { explain(row); });
}

void SetupPage::check(FieldRow* row, const QString& text) {
  const Field& field = row->field().field;
  const std::string value = view::typed_value(field, text.toStdString());
  const std::optional<Error> error = value == field.value ? std::nullopt : view::check_edit(state().question(), field.path, value);
  row->show_problem(error ? told(*error) : QString());
}

void SetupPage::edit(FieldRow* row, const QString& text) {
  const Field field = row->field().field;
  const std::string value = view::typed_value(field, text.toStdString());
  if (value.empty()) return reset(row);
  if (value == field.value) {
    row->show_problem({});
    return row->show_field(row->field(), view::says(state().question(), field.path));
  }
  const std::optional<Error> error = view::check_edit(state().question(), field.path, value);
  if (!error) return state().set(field.path, value);
  // The question stays as it was; what would make it readable with this value is offered beside the reader's message.
  const auto& answer = state().answer();
  std::vector<app::Mend> mends;
  if (answer && answer->inputs) {
    mends = app::mends(view::with_setting(state().question(), field.path, value), *answer->inputs, *error);
    std::erase_if(mends, [&](const app::Mend& m) { return m.settings.front().starts_with(field.path + "="); });
    for (app::Mend& m : mends) m.settings.insert(m.settings.begin(), field.path + "=" + value);
  }
  row->refuse(told(*error), mends);  // until it is edited again, or the question changes
}

void SetupPage::reset(const FieldRow* row) {
  const Field field = row->field().field;
  if (view::says(state().question(), field.path))
    state().set(field.path, "");
  else if (field.fallback)
    state().set(field.path, *field.fallback);
}

void SetupPage::explain(FieldRow* row) {
  looked_at_ = row;
  show_help(*row, nullptr);
  const std::shared_ptr<const Answer> answer = state().answer();
  if (!answer || !answer->inputs) return;
  legal_.ask([this, answer, path = row->field().field.path](const std::atomic<bool>* cancel) -> std::function<void()> {
    std::vector<app::LegalValue> legal = app::legal_values(answer->question, *answer->inputs, path, {.with_company = true, .cancel = cancel});
    return [this, path, legal = std::move(legal)] {
      if (!looked_at_ || looked_at_->field().field.path != path) return;
      looked_at_->show_legal(legal);
      show_help(*looked_at_, &legal);
    };
  });
}

void SetupPage::show_help(const FieldRow& row, const std::vector<app::LegalValue>* legal) {
  const Field& field = row.field().field;
  help_title_->setText(words(field.path));
  help_text_->setText(words(field.about));
  help_text_->setVisible(!field.about.empty());
  QStringList more;
  if (field.fallback)
    more << tr("default: %1").arg(words(view::shown_text(field, *field.fallback).empty() ? "null" : view::shown_text(field, *field.fallback)));
  if (field.nullable && !field.null_means.empty()) more << tr("null: %1").arg(words(field.null_means));
  if (!field.units.empty()) {
    QStringList units;
    for (const std::string& unit : field.units) units << words(unit);
    more << tr("units: %1").arg(units.join(", "));
  }
  if (field.kind == FieldKind::number && (field.least || field.most))
    more << tr("from %1 to %2%3")
                .arg(field.least ? QString::number(*field.least) : QStringLiteral("−∞"),
                     field.most ? QString::number(*field.most) : QStringLiteral("∞"), field.below ? tr(" (less)") : QString());
  if (legal && legal->empty() && field.kind != FieldKind::text && field.kind != FieldKind::quantity && field.kind != FieldKind::number &&
      field.kind != FieldKind::list && field.kind != FieldKind::object)
    more << tr("no value is legal with the plan as it is");
  if (legal && !legal->empty()) more << tr("legal with the plan as it is; + changes another field with it:");
  help_more_->setText(more.join(QStringLiteral("\n")));
  help_more_->setVisible(!more.isEmpty());

  qDeleteAll(chips_->findChildren<QWidget*>(QString(), Qt::FindDirectChildrenOnly));
  delete chips_->layout();
  auto* grid = new QGridLayout(chips_);
  grid->setContentsMargins(0, 0, 0, 0);
  grid->setSpacing(4);
  const bool wide = field.kind == FieldKind::choice;
  const int columns = wide ? 2 : 5;
  int at = 0;
  for (const app::LegalValue& value : legal ? *legal : std::vector<app::LegalValue>{}) {
    if (at >= kMostChips) break;
    auto* chip = new QPushButton(words(value.value) + (value.settings.size() > 1 ? QStringLiteral(" +") : QString()));
    chip->setCheckable(true);
    chip->setChecked(value.value == field.value);
    chip->setMinimumWidth(20);
    QStringList settings;
    for (const std::string& s : value.settings) settings << words(s);
    chip->setToolTip(settings.join(QStringLiteral(", ")));
    connect(chip, &QPushButton::clicked, this, [this, settings, chip] {
      chip->setChecked(true);
      apply_mend(state(), settings);
    });
    grid->addWidget(chip, at / columns, at % columns);
    ++at;
  }
}

void SetupPage::choose_model(const QString& name) {
  app::PlanFlags question = state().question();
  const std::string chosen = name.trimmed().toStdString();
  if (chosen.empty() || (state().answer() && state().answer()->inputs && chosen == state().answer()->inputs->plan.model)) return;
  question.model = chosen;
  // What was changed inside the model was of the other one.
  std::erase_if(question.settings, [](const std::string& s) { return is_document_setting(s, "model"); });
  try {
    app::PlanFlags read = question;
    read.profile.clear();
    app::load_inputs(read);
  } catch (const Error& e) {
    document_problem_->setText(told(e));
    return document_problem_->show();
  }
  model_->lineEdit()->setModified(false);
  state().ask(std::move(question), tr("model %1").arg(name.trimmed()));
}

void SetupPage::choose_cluster(const QString& name, const QString& devices) {
  app::PlanFlags question = state().question();
  const std::string chosen = name.trimmed().toStdString();
  devices_->setModified(false);
  try {
    bool number = false;
    const qlonglong wanted = devices.trimmed().toLongLong(&number);
    if (!number || wanted < 1) throw Error("devices", "'" + devices.toStdString() + "' is not a number of devices", "write a whole number: 64");
    const auto& answer = state().answer();
    const view::ClusterName before = answer && answer->inputs ? view::cluster_name(answer->inputs->plan.cluster) : view::ClusterName{};
    const bool other = chosen != before.name;
    question.cluster =
        other && chosen.find('/') == std::string::npos ? view::cluster_specification(chosen, wanted) : fmt::format("{}:{}", chosen, wanted);
    std::erase_if(question.settings, [&](const std::string& s) {
      return s.starts_with("cluster=") || s.starts_with("cluster.devices=") || (other && is_document_setting(s, "cluster"));
    });
    app::PlanFlags read = question;
    read.profile.clear();
    app::load_inputs(read);
  } catch (const Error& e) {
    document_problem_->setText(told(e));
    return document_problem_->show();
  }
  cluster_->lineEdit()->setModified(false);
  const QString what = tr("cluster %1").arg(words(question.cluster));
  state().ask(std::move(question), what);
}

void SetupPage::show_document(app::DocumentKind document) {
  tabs_->setCurrentIndex(static_cast<int>(document));
  list_->show_document(document);
}

void SetupPage::update_filter() {
  const bool filtered = !find_->text().trimmed().isEmpty() || only_changed_->isChecked();
  list_->filter(find_->text(), only_changed_->isChecked());
  const QStringList names{tr("Plan"), tr("Cluster"), tr("Model")};
  for (int i = 0; i < tabs_->count(); ++i)
    tabs_->setTabText(i, filtered ? QStringLiteral("%1 (%2)").arg(names[i]).arg(list_->matches(static_cast<app::DocumentKind>(i))) : names[i]);
  tabs_->setEnabled(!filtered);
}

}  // namespace orrery::gui

#include "gui/main_window.h"

#include <QActionGroup>
#include <QApplication>
#include <QClipboard>
#include <QCloseEvent>
#include <QDir>
#include <QDragEnterEvent>
#include <QFileDialog>
#include <QFileInfo>
#include <QHBoxLayout>
#include <QLabel>
#include <QListWidget>
#include <QMenuBar>
#include <QMimeData>
#include <QPushButton>
#include <QScrollArea>
#include <QSettings>
#include <QShortcut>
#include <QStackedWidget>
#include <QStandardPaths>
#include <QStatusBar>
#include <QTimer>
#include <QToolButton>
#include <QVBoxLayout>
#include <algorithm>

#include "app/version.h"
#include "core/error.h"
#include "core/files.h"
#include "core/timeline_json.h"
#include "gui/message_strip.h"
#include "gui/page.h"
#include "gui/picture.h"
#include "gui/summary.h"
#include "gui/theme.h"
#include "gui/view/examples.h"

namespace orrery::gui {
namespace {

constexpr int kRecent = 10;

QString words(const std::string& text) { return QString::fromStdString(text); }

}  // namespace

struct MainWindow::Actions {
  QAction *undo, *redo, *pin, *unpin, *save_plan, *save_trace, *save_table, *save_picture, *act, *uncover;
};

MainWindow::MainWindow(ViewState& state, const QString& remember, QWidget* parent)
    : QMainWindow(parent),
      state_(state),
      memory_(remember.isEmpty() ? nullptr : std::make_unique<QSettings>(remember, QSettings::IniFormat)),
      list_(new QListWidget),
      stack_(new QStackedWidget),
      summary_(new Summary(state)),
      strip_(new MessageStrip),
      latency_(new QLabel),
      actions_(std::make_unique<Actions>()) {
  setWindowTitle("Orrery");
  setAcceptDrops(true);
  resize(1280, 800);

  list_->setObjectName("pages");
  list_->setAccessibleName(tr("Pages"));
  list_->setFixedWidth(148);
  list_->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  pages_ = make_pages(state, stack_);
  for (qsizetype i = 0; i < pages_.size(); ++i) {
    Page* page = pages_[i];
    auto* scroll = new QScrollArea;  // for windows smaller than a page needs
    scroll->setWidgetResizable(true);
    scroll->setWidget(page);
    stack_->addWidget(scroll);
    auto* item = new QListWidgetItem(page->title(), list_);
    const QKeySequence keys(QStringLiteral("Ctrl+%1").arg((i + 1) % 10));
    item->setSizeHint({0, 34});
    item->setToolTip(QStringLiteral("%1 (%2)").arg(page->title(), keys.toString()));
    auto* shortcut = new QShortcut(keys, this);
    connect(shortcut, &QShortcut::activated, this, [this, i] { list_->setCurrentRow(static_cast<int>(i)); });
  }
  connect(list_, &QListWidget::currentRowChanged, this, [this](int row) {
    stack_->setCurrentIndex(row);
    update_actions();
  });

  auto* content = new QWidget;
  auto* column = new QVBoxLayout(content);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(0);
  column->addWidget(summary_);
  auto* notices = new QVBoxLayout;
  notices->setContentsMargins(16, 0, 16, 0);
  notices->setSpacing(6);
  notices->addWidget(strip_);
  first_steps_ = make_first_steps();
  notices->addWidget(first_steps_);
  column->addLayout(notices);
  column->addWidget(stack_, 1);
  auto* whole = new QWidget;
  auto* row = new QHBoxLayout(whole);
  row->setContentsMargins(0, 0, 0, 0);
  row->setSpacing(0);
  row->addWidget(list_);
  row->addWidget(content, 1);
  setCentralWidget(whole);
  latency_->setObjectName("dim");
  latency_->setContentsMargins(0, 0, 10, 0);
  statusBar()->addPermanentWidget(latency_);
  statusBar()->setSizeGripEnabled(false);

  if (memory_ && qEnvironmentVariableIsEmpty("ORRERY_THEME"))
    choose_theme(static_cast<ThemeChoice>(std::clamp(memory_->value("colours", 0).toInt(), 0, 2)));
  make_menus();
  connect(&state, &ViewState::message, this, [this](const QString& text, Tone tone) { strip_->say(text, tone); });
  connect(&state, &ViewState::page_wanted, this, &MainWindow::show_page);
  connect(&state, &ViewState::opened, this, &MainWindow::remember_file);
  for (const auto signal :
       {&ViewState::question_changed, &ViewState::answer_changed, &ViewState::pin_changed, &ViewState::timeline_changed, &ViewState::measured_changed,
        &ViewState::search_changed, &ViewState::sweep_changed, &ViewState::run_changed, &ViewState::compared_changed})
    connect(&state, signal, this, &MainWindow::update_actions);
  connect(&state, &ViewState::answer_changed, this, [this] {
    const auto& answer = state_.answer();
    if (answer->explored && !answer->complete) latency_->setText(tr("answered in %1 ms").arg(answer->seconds * 1e3, 0, 'f', 0));
  });
  connect(&state, &ViewState::question_changed, this, [this] {
    if (strip_->isVisible()) strip_->hide();  // it was about what is no longer asked
  });
  restore();
  list_->setCurrentRow(std::max(0, list_->currentRow()));
}

MainWindow::~MainWindow() {
  if (QWidget* focus = focusWidget()) focus->clearFocus();  // while its page is still there to be told
}

QFrame* MainWindow::make_first_steps() {
  auto* frame = new QFrame;
  frame->setObjectName("card");
  frame->setAccessibleName(tr("Three things to try"));
  auto* row = new QHBoxLayout(frame);
  row->setContentsMargins(12, 6, 6, 6);
  auto* title = new QLabel(tr("Three things to try:"));
  title->setObjectName("section");
  row->addWidget(title);
  const auto step = [&](const QString& text, const QString& tip, std::function<void()> action) {
    auto* button = new QPushButton(text);
    button->setToolTip(tip);
    connect(button, &QPushButton::clicked, this, std::move(action));
    row->addWidget(button);
  };
  step(tr("1  Turn tp from 8 to 4"), tr("Pins this plan, and shows what changes"), [this] {
    const app::PlanFlags example = ViewState::first_question();
    if (state_.question().model != example.model) return state_.ask(example, words(view::examples().front().name));  // another plan's tp is not 8
    state_.pin();
    state_.set("parallel.tp", "4");
    state_.go_to("whatif");
  });
  step(tr("2  See what waits for what"), tr("The timeline of one step, rank by rank"), [this] { state_.go_to("timeline"); });
  step(tr("3  Search for a faster plan"), tr("Everything that fits, ranked, and why the rest was refused"), [this] {
    state_.go_to("plans");
    page()->act();
  });
  row->addStretch(1);
  auto* close = new QToolButton;
  close->setText(QStringLiteral("\u00d7"));
  close->setAutoRaise(true);
  close->setToolTip(tr("Do not show this again"));
  connect(close, &QToolButton::clicked, this, [this, frame] {
    frame->hide();
    if (memory_) memory_->setValue("first_steps", false);
  });
  row->addWidget(close);
  return frame;
}

void MainWindow::make_examples(QMenu& menu) {
  for (const view::Example& example : view::examples()) {
    QAction* action = menu.addAction(words(example.name), this, [this, &example] { state_.ask(example.question, words(example.name)); });
    action->setToolTip(words(example.about));
    action->setStatusTip(words(example.about));
  }
  menu.setToolTipsVisible(true);
}

void MainWindow::make_menus() {
  QMenu* file = menuBar()->addMenu(tr("&File"));
  connect(file, &QMenu::aboutToShow, this, [this] {  // asked for only then: pages go on changing, and tables take time
    actions_->save_table->setEnabled(page()->csv().has_value());
    actions_->save_picture->setEnabled(!page()->charts().isEmpty());
  });
  file->addAction(tr("&Open…"), QKeySequence::Open, this, &MainWindow::open)
      ->setStatusTip(tr("A plan, a Hugging Face config.json, a cluster, a profile, a trace or a sweep's table"));
  recent_menu_ = file->addMenu(tr("Open &recent"));
  make_examples(*file->addMenu(tr("&Examples")));
  file->addAction(tr("&Lay a trace over the prediction…"), this, [this] {
    const QString path = QFileDialog::getOpenFileName(this, tr("Lay a trace over the prediction"), {}, tr("Traces (*.json);;All files (*)"));
    if (!path.isEmpty()) state_.open_over(path);
  });
  actions_->uncover = file->addAction(tr("&Take other timelines away"), this, [this] {
    state_.set_measured(std::nullopt);
    if (state_.trace()) state_.show_trace(std::nullopt);
  });
  file->addSeparator();
  actions_->save_plan = file->addAction(tr("&Save plan as…"), QKeySequence::Save, this, [this] {
    save("plan.json", tr("Plans (*.json)"), [this](const QString& path) { return state_.save_plan(path); });
  });
  actions_->save_trace = file->addAction(tr("Save &trace as…"), this, [this] {
    save("trace.json", tr("Traces (*.json)"), [this](const QString& path) { return state_.save_trace(path); });
  });
  actions_->save_table = file->addAction(tr("Save this page's ta&ble as…"), this, [this] {
    save(page()->key() + ".csv", tr("Tables (*.csv)"), [this](const QString& path) {
      const std::optional<QString> table = page()->csv();
      return table && save_text(path, table->toUtf8());
    });
  });
  actions_->save_picture = file->addAction(tr("Save this page's &picture as…"), this, [this] {
    save(page()->key() + ".png", tr("Pictures (*.png *.svg)"), [this](const QString& path) { return save_picture(path); });
  });
  file->addAction(tr("&Copy as command"), QKeySequence("Ctrl+Shift+C"), this, &MainWindow::copy_command)
      ->setStatusTip(tr("The command that prints what is on screen"));
  file->addSeparator();
  file->addAction(tr("&Quit"), QKeySequence::Quit, this, &QWidget::close);

  QMenu* edit = menuBar()->addMenu(tr("&Edit"));
  actions_->undo = edit->addAction(tr("&Undo"), QKeySequence::Undo, this, [this] { state_.undo(); });
  actions_->redo = edit->addAction(tr("&Redo"), this, [this] { state_.redo(); });
  actions_->redo->setShortcuts({QKeySequence(QKeySequence::Redo), QKeySequence("Ctrl+Y")});
  edit->addSeparator();
  actions_->pin = edit->addAction(tr("&Pin this answer"), QKeySequence("Ctrl+P"), this, [this] { state_.pin(); });
  actions_->pin->setStatusTip(tr("Changes are told against it from now on"));
  actions_->unpin = edit->addAction(tr("U&npin"), QKeySequence("Ctrl+Shift+P"), this, [this] { state_.unpin(); });

  QMenu* view = menuBar()->addMenu(tr("&View"));
  for (int i = 0; i < pages_.size(); ++i)
    view->addAction(QStringLiteral("%1\tCtrl+%2").arg(pages_[i]->title()).arg((i + 1) % 10), this, [this, i] { list_->setCurrentRow(i); });
  view->addSeparator();
  actions_->act = view->addAction(tr("Start"), QKeySequence("Ctrl+Return"), this, [this] { page()->act(); });
  QMenu* colours = view->addMenu(tr("&Colours"));
  auto* group = new QActionGroup(this);
  for (const auto& [choice, name] :
       {std::pair{ThemeChoice::system, tr("as the system")}, {ThemeChoice::light, tr("light")}, {ThemeChoice::dark, tr("dark")}}) {
    QAction* action = colours->addAction(name, this, [this, choice = choice] {
      choose_theme(choice);
      if (memory_) memory_->setValue("colours", static_cast<int>(choice));
    });
    action->setCheckable(true);
    action->setChecked(theme_choice() == choice);
    group->addAction(action);
  }
  view->addAction(tr("&Full screen"), QKeySequence("F11"), this, [this] { setWindowState(windowState() ^ Qt::WindowFullScreen); });

  QMenu* help = menuBar()->addMenu(tr("&Help"));
  help->addAction(tr("&Three things to try"), this, [this] { first_steps_->show(); });
  help->addAction(tr("&About"), this, [this] {
    state_.say(tr("Orrery %1 (%2): the same library as the command 'orrery'; every figure on screen can be had from it by \"Copy as command\".")
                   .arg(words(app::version()), words(app::commit())));
  });
  fill_recent();
  update_actions();
}

void MainWindow::update_actions() {
  const auto named = [](QAction* action, const QString& word, const QString& what) { action->setText(what.isEmpty() ? word : word + " " + what); };
  actions_->undo->setEnabled(state_.can_undo());
  actions_->redo->setEnabled(state_.can_redo());
  named(actions_->undo, tr("&Undo"), state_.undo_what());
  named(actions_->redo, tr("&Redo"), state_.redo_what());
  actions_->pin->setEnabled(state_.answer() && state_.answer()->explored);
  actions_->unpin->setEnabled(state_.pinned() != nullptr);
  actions_->save_plan->setEnabled(state_.answer() && state_.answer()->inputs);
  actions_->save_trace->setEnabled(state_.timeline() != nullptr);
  actions_->uncover->setEnabled(state_.trace() || state_.measured());
  if (Page* shown = page()) {
    actions_->act->setEnabled(!shown->action().isEmpty());
    actions_->act->setText(shown->action().isEmpty() ? tr("Start") : shown->action());
  }
}

Page* MainWindow::page() const { return stack_->currentIndex() < 0 ? nullptr : pages_[stack_->currentIndex()]; }

Page* MainWindow::page(const QString& key) const {
  for (Page* page : pages_)
    if (page->key() == key) return page;
  return nullptr;
}

bool MainWindow::show_page(const QString& key) {
  Page* wanted = page(key);
  if (wanted == nullptr) return false;
  list_->setCurrentRow(static_cast<int>(pages_.indexOf(wanted)));
  return true;
}

void MainWindow::open() {
  const QString path =
      QFileDialog::getOpenFileName(this, tr("Open"), {}, tr("Plans, models, clusters, profiles, traces, tables (*.json *.csv);;All files (*)"));
  if (!path.isEmpty()) state_.open(path);
}

void MainWindow::save(const QString& what, const QString& filter, const std::function<bool(const QString&)>& write) {
  const QString path = QFileDialog::getSaveFileName(this, tr("Save"), what, filter);
  if (!path.isEmpty()) write(path);
}

bool MainWindow::save_text(const QString& path, const QByteArray& text) {
  try {
    write_file_atomically(path.toStdString(), std::string_view(text.constData(), static_cast<std::size_t>(text.size())));
  } catch (const Error& e) {
    state_.say(e);
    return false;
  }
  state_.say(tr("saved: %1").arg(path), Tone::good);
  return true;
}

bool MainWindow::save_picture(const QString& path) {
  if (page()->charts().isEmpty()) return false;
  if (path.endsWith(".svg", Qt::CaseInsensitive)) return save_text(path, svg_of(*page()));
  if (!picture_of(*page()).save(path)) {
    state_.say(Error(path.toStdString(), "cannot be written", "choose a folder that exists, and a name that ends in .png or .svg"));
    return false;
  }
  state_.say(tr("saved: %1").arg(path), Tone::good);
  return true;
}

void MainWindow::copy_command() {
  const QString command = page()->command();
  if (command.isEmpty()) return state_.say(page()->without_command());
  QApplication::clipboard()->setText(command);
  state_.say(tr("copied: %1").arg(command), Tone::good);
}

void MainWindow::remember_file(const QString& path) {
  const QString whole = QFileInfo(path).absoluteFilePath();
  recent_.removeAll(whole);
  recent_.prepend(whole);
  while (recent_.size() > kRecent) recent_.removeLast();
  if (memory_) memory_->setValue("recent", recent_);
  fill_recent();
}

void MainWindow::fill_recent() {
  recent_menu_->clear();
  recent_menu_->setEnabled(!recent_.isEmpty());
  for (const QString& path : recent_) recent_menu_->addAction(QDir::toNativeSeparators(path), this, [this, path] { state_.open(path); });
}

void MainWindow::restore() {
  if (!memory_) return;
  restoreGeometry(memory_->value("geometry").toByteArray());
  recent_ = memory_->value("recent").toStringList();
  fill_recent();
  first_steps_->setVisible(memory_->value("first_steps", true).toBool());
  show_page(memory_->value("page").toString());
  for (Page* each : pages_) each->arrange(*memory_);
}

void MainWindow::store() const {
  if (!memory_) return;
  memory_->setValue("geometry", saveGeometry());
  memory_->setValue("page", page()->key());
  for (const Page* each : pages_) each->keep(*memory_);
}

QString MainWindow::results_folder(const Page& page) {
  return QStandardPaths::writableLocation(QStandardPaths::GenericDataLocation) + "/orrery/last-" + page.key();
}

void MainWindow::keep_results() {
  if (!memory_) return;
  for (const Page* page : pages_) {
    const QDir folder(results_folder(*page));
    try {
      for (const Page::Result& result : page->results()) {
        folder.mkpath(".");
        write_file_atomically(folder.filePath(result.file).toStdString(), result.content);
        if (result.opens) remember_file(folder.filePath(result.file));
      }
    } catch (const std::exception&) {  // the window is closing: there is nobody left to tell
    }
  }
}

void MainWindow::closeEvent(QCloseEvent* event) {
  if (close_now_ && std::any_of(pages_.begin(), pages_.end(), [](Page* page) { return page->running().has_value(); })) {
    event->ignore();  // it closes by itself when what runs has ended
    return;
  }
  QStringList running, folders;
  for (const Page* page : pages_)
    if (const std::optional<QString> what = page->running()) {
      running << *what;
      folders << QDir::toNativeSeparators(results_folder(*page));
    }
  if (!close_now_ && !running.isEmpty()) {
    event->ignore();
    const auto stop = [this] {
      close_now_ = true;
      for (Page* each : pages_) each->stop();
      auto* wait = new QTimer(this);
      connect(wait, &QTimer::timeout, this, [this, wait] {
        if (std::any_of(pages_.begin(), pages_.end(), [](Page* page) { return page->running().has_value(); })) return;
        wait->stop();
        close();
      });
      wait->start(20);
    };
    strip_->say(tr("Still going on: %1. What was done so far will be in %2.").arg(running.join(tr(" and ")), folders.join(tr(" and "))), Tone::bad,
                {{tr("Stop, keep it and close"), stop}, {tr("Let it go on"), [] {}}});
    return;
  }
  keep_results();
  store();
  event->accept();
}

void MainWindow::dragEnterEvent(QDragEnterEvent* event) {
  if (event->mimeData()->hasUrls()) event->acceptProposedAction();
}

void MainWindow::dropEvent(QDropEvent* event) {
  for (const QUrl& url : event->mimeData()->urls())
    if (url.isLocalFile()) state_.open(url.toLocalFile());
  event->acceptProposedAction();
}

}  // namespace orrery::gui

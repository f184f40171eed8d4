// The window: a list of pages, the question in one line above them, messages in place, menus.
#pragma once

#include <QMainWindow>
#include <QString>
#include <functional>
#include <memory>
#include <vector>

#include "gui/state/view_state.h"

class QFrame;
class QLabel;
class QListWidget;
class QMenu;
class QPushButton;
class QStackedWidget;
class QSettings;

namespace orrery::gui {

class Page;
class MessageStrip;
class Summary;

class MainWindow : public QMainWindow {
  Q_OBJECT

 public:
  // `remember`: an INI file for window state and recent files; empty: nothing is read or kept.
  explicit MainWindow(ViewState& state, const QString& remember = {}, QWidget* parent = nullptr);
  ~MainWindow() override;

  const QList<Page*>& pages() const { return pages_; }
  Page* page() const;  // in front
  Page* page(const QString& key) const;
  bool show_page(const QString& key);  // false: there is none of that name

  QStringList recent() const { return recent_; }
  // Where a run's results are kept when the window closes.
  static QString results_folder(const Page& page);

 protected:
  void closeEvent(QCloseEvent* event) override;
  void dragEnterEvent(QDragEnterEvent* event) override;
  void dropEvent(QDropEvent* event) override;

 private:
  void make_menus();
  void make_examples(QMenu& menu);
  QFrame* make_first_steps();
  void fill_recent();
  void remember_file(const QString& path);
  void restore();
  void store() const;
  void keep_results();
  void update_actions();
  void open();
  void save(const QString& what, const QString& suffix, const std::function<bool(const QString&)>& write);
  bool save_text(const QString& path, const QByteArray& text);
  bool save_picture(const QString& path);
  void copy_command();

  ViewState& state_;
  std::unique_ptr<QSettings> memory_;
  QList<Page*> pages_;
  QListWidget* list_ = nullptr;
  QStackedWidget* stack_ = nullptr;
  Summary* summary_ = nullptr;
  MessageStrip* strip_ = nullptr;
  QFrame* first_steps_ = nullptr;
  QMenu* recent_menu_ = nullptr;
  QLabel* latency_ = nullptr;
  QStringList recent_;
  struct Actions;
  std::unique_ptr<Actions> actions_;
  bool close_now_ = false;
};

}  // namespace orrery::gui

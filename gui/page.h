// One page of the window.
#pragma once

#include <QList>
#include <QString>
#include <QWidget>
#include <optional>
#include <string>
#include <vector>

class QSettings;

namespace orrery::app {
struct PlanFlags;
}

namespace orrery::gui {

class Chart;
class Veil;
class ViewState;

class Page : public QWidget {
  Q_OBJECT

 public:
  // `key` is what --page and stored settings call it ("timeline"), `title` what people read ("Timeline").
  Page(ViewState& state, const QString& key, const QString& title, QWidget* parent = nullptr);

  const QString& key() const { return key_; }
  const QString& title() const { return title_; }

  // To be saved as pictures, the main one first.
  virtual QList<const Chart*> charts() const { return {}; }
  // What the page shows as a table (RFC 4180, with a header line); nothing where it shows none.
  virtual std::optional<QString> csv() const { return std::nullopt; }
  // The command that prints the same; by default that of the question, `orrery simulate …`. Empty where there is none: without_command() says why.
  virtual QString command() const;
  virtual QString without_command() const;
  // A line over a picture of the page: what it is of.
  virtual QString caption() const;
  // The question has no answer of its own: what the page shows of it is of the last plan that had one.
  virtual bool stale() const;
  // The page's main button ("Search", "Run"), which Ctrl+Return presses too; empty where there is none.
  virtual QString action() const { return {}; }
  virtual void act() {}
  // Something of its own that runs on: "a run, step 12 of 20". Closing the window asks, and then calls stop(), which keeps results.
  virtual std::optional<QString> running() const { return std::nullopt; }
  virtual void stop() {}
  // What it found and would be lost with the window, which keeps it when it closes.
  struct Result {
    QString file;  // "plans.csv"
    std::string content;
    bool opens = false;  // the window can open it again
  };
  virtual std::vector<Result> results() const { return {}; }
  // Whether what it shows is whole: screenshots wait for that.
  virtual bool settled() const { return true; }
  // How people arranged the page, under its key: where its splitters stand, and what a page adds. arrange() takes what keep() left.
  virtual void keep(QSettings& settings) const;
  virtual void arrange(const QSettings& settings);

 protected:
  ViewState& state() const { return state_; }
  // What the timeline on screen answers: not the present question where that is illegal, or not answered yet.
  const app::PlanFlags& shown_question() const;
  // The command that prints what the opened trace says.
  QString trace_command(const std::vector<std::string>& more = {}) const;
  // Dims the part of the page while stale(), where it shows a timeline not while that is an opened trace. Followed by itself as answers come;
  // show_staleness() where stale() changes for another reason.
  void dim_when_stale(QWidget* part, bool of_timeline = false);
  void show_staleness();

 private:
  ViewState& state_;
  QString key_, title_;
  struct Dimmed {
    Veil* veil;
    bool of_timeline;
  };
  QList<Dimmed> dimmed_;
};

// All pages, in the order of the window's list.
QList<Page*> make_pages(ViewState& state, QWidget* parent);

}  // namespace orrery::gui

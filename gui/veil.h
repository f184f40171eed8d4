// Lies over a part of the window that is not of the present question: dims it, and says of what it is. What is under it can still be read and used.
#pragma once

#include <QString>
#include <QWidget>

namespace orrery::gui {

class Veil : public QWidget {
  Q_OBJECT

 public:
  // Covers all of `over`, whose child it becomes; hidden at first. Not for a QSplitter, whose children are its parts.
  Veil(QWidget* over, const QString& word);

 protected:
  void paintEvent(QPaintEvent* event) override;
  void showEvent(QShowEvent* event) override;
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  QString word_;
};

}  // namespace orrery::gui

// A line of text that ends in an ellipsis where there is no room for all of it, which its tooltip then holds.
#pragma once

#include <QLabel>

namespace orrery::gui {

class ElidedLabel : public QLabel {
  Q_OBJECT

 public:
  explicit ElidedLabel(const QString& text = {}, QWidget* parent = nullptr);
  QSize minimumSizeHint() const override;

 protected:
  void paintEvent(QPaintEvent* event) override;
  bool event(QEvent* event) override;
};

}  // namespace orrery::gui

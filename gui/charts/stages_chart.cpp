#include "gui/charts/stages_chart.h"

#include <QHelpEvent>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>
#include <algorithm>
#include <cmath>

#include "core/quantity_text.h"

namespace orrery::gui {
namespace {

QString bytes(std::int64_t b) { return QString::fromStdString(format_bytes(Bytes{b})); }

}  // namespace

StagesChart::StagesChart(QWidget* parent) : Chart("memory-by-stage", parent) {
  setFocusPolicy(Qt::StrongFocus);
  setAccessibleDescription(tr("Live bytes over the step of each stage; up and down choose one"));
}

// Rows grow with the room that there is.
double StagesChart::row_height(double height, const QFontMetricsF& font) const {
  const double least = 2 * font.height() + 22;
  return rows_.empty() ? least : std::clamp(height / static_cast<double>(rows_.size()), least, 2.6 * least);
}

double StagesChart::row_height() const { return row_height(height(), QFontMetricsF(font())); }

QSize StagesChart::sizeHint() const { return {220, static_cast<int>(row_height(0, QFontMetricsF(font())) * static_cast<double>(rows_.size())) + 1}; }

void StagesChart::show(std::vector<Row> rows, Bytes capacity, Picoseconds end) {
  rows_ = std::move(rows), capacity_ = capacity, end_ = end;
  setMinimumHeight(sizeHint().height());
  updateGeometry();
  update();
}

void StagesChart::choose(std::uint32_t rank) {
  chosen_ = rank;
  update();
}

void StagesChart::set_cursor(std::optional<Picoseconds> time) {
  if (time == cursor_) return;
  cursor_ = time;
  update();
}

QRectF StagesChart::row_rect(std::size_t row) const {
  return {0, row_height() * static_cast<double>(row), static_cast<double>(width()), row_height()};
}

void StagesChart::paint(QPainter& painter, QSizeF size, const Theme& theme) const {
  painter.fillRect(QRectF({}, size), theme.ground);
  const QFontMetricsF font(painter.font());
  const double height = row_height(size.height(), font);
  std::int64_t most = capacity_.v;
  for (const Row& row : rows_) most = std::max(most, row.peak);
  const auto fullest = std::max_element(rows_.begin(), rows_.end(), [](const Row& a, const Row& b) { return a.peak < b.peak; });
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    const Row& row = rows_[i];
    const QRectF box(0, height * static_cast<double>(i), size.width(), height);
    if (box.top() > size.height()) break;
    const bool over = capacity_.v > 0 && row.peak > capacity_.v, full = rows_.begin() + static_cast<std::ptrdiff_t>(i) == fullest;
    if (row.rank == chosen_) {
      painter.fillRect(box, theme.panel);
      painter.fillRect(QRectF(0, box.top(), 3, box.height()), theme.accent);
    }
    painter.setPen(theme.line);
    painter.drawLine(QPointF(0, box.bottom() - 0.5), QPointF(size.width(), box.bottom() - 0.5));
    const QRectF words(12, box.top() + 5, size.width() - 22, font.height());
    painter.setPen(theme.ink);
    const QString peak = bytes(row.peak);
    const double peak_width = font.horizontalAdvance(peak) + 8;
    painter.drawText(words.adjusted(0, 0, -peak_width, 0), int{Qt::AlignLeft} | int{Qt::AlignVCenter},
                     font.elidedText(row.label, Qt::ElideRight, words.width() - peak_width));
    painter.setPen(over ? theme.bad : full ? theme.ink : theme.dim);
    QFont strong = painter.font();
    const QFont plain = strong;
    strong.setBold(full || over);
    painter.setFont(strong);
    painter.drawText(words, int{Qt::AlignRight} | int{Qt::AlignVCenter}, peak);
    painter.setFont(plain);
    const QRectF plot(12, words.bottom() + 4, size.width() - 22, box.bottom() - 6 - words.bottom() - 4);
    const auto y = [&](double v) { return plot.bottom() - plot.height() * v / (static_cast<double>(most) * 1.02 + 1); };
    const auto pixels = static_cast<std::size_t>(std::max(1.0, plot.width()));
    QPolygonF area;
    area << plot.bottomLeft();
    const std::vector<view::Extent> extents = view::extents(row.live, {Picoseconds{0}, std::max(end_, Picoseconds{1})}, pixels);
    for (std::size_t p = 0; p < pixels; ++p)
      if (!extents[p].empty) {
        area << QPointF(plot.left() + static_cast<double>(p), y(extents[p].high))
             << QPointF(plot.left() + static_cast<double>(p) + 1, y(extents[p].high));
      }
    area << plot.bottomRight();
    painter.setPen(Qt::NoPen);
    painter.setBrush(over ? theme.bad : full ? theme.b : theme.a);
    painter.drawPolygon(area);
    painter.setBrush(Qt::NoBrush);
    if (capacity_.v > 0) {
      painter.setPen(QPen(over ? theme.bad : theme.dim, 1, Qt::DashLine));
      const double at = std::round(y(static_cast<double>(capacity_.v))) + 0.5;
      painter.drawLine(QPointF(plot.left(), at), QPointF(plot.right(), at));
    }
    if (cursor_ && end_.v > 0) {
      const double at = std::round(plot.left() + plot.width() * static_cast<double>(cursor_->v) / static_cast<double>(end_.v)) + 0.5;
      painter.setPen(theme.accent);
      if (at >= plot.left() && at <= plot.right() + 1) painter.drawLine(QPointF(at, plot.top()), QPointF(at, plot.bottom()));
    }
  }
}

void StagesChart::mousePressEvent(QMouseEvent* event) {
  const auto row = static_cast<std::size_t>(std::max(0.0, event->position().y() / row_height()));
  if (row < rows_.size()) Q_EMIT chosen(rows_[row].rank);
}

void StagesChart::keyPressEvent(QKeyEvent* event) {
  const auto at = std::find_if(rows_.begin(), rows_.end(), [&](const Row& r) { return r.rank == chosen_; });
  const auto row = at == rows_.end() ? 0 : at - rows_.begin();
  const auto last = static_cast<std::ptrdiff_t>(rows_.size()) - 1;
  std::ptrdiff_t to = 0;
  switch (event->key()) {
    case Qt::Key_Up:
      to = row - 1;
      break;
    case Qt::Key_Down:
      to = row + 1;
      break;
    case Qt::Key_Home:
      to = 0;
      break;
    case Qt::Key_End:
      to = last;
      break;
    default:
      return Chart::keyPressEvent(event);
  }
  if (last >= 0) Q_EMIT chosen(rows_[static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(to, 0, last))].rank);
}

bool StagesChart::event(QEvent* event) {
  if (event->type() == QEvent::ToolTip) {
    const auto* help = static_cast<QHelpEvent*>(event);
    const auto row = static_cast<std::size_t>(std::max(0.0, help->pos().y() / row_height()));
    if (row < rows_.size()) QToolTip::showText(help->globalPos(), rows_[row].label + "\n" + rows_[row].note, this);
    return true;
  }
  return Chart::event(event);
}

}  // namespace orrery::gui

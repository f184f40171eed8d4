#include "gui/charts/heat_chart.h"

#include <QHelpEvent>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>
#include <algorithm>

#include "gui/charts/plot.h"

namespace orrery::gui {
namespace {

constexpr double kEdge = 12, kLegend = 56, kScaleHeight = 12;

QString of(const std::string& text) { return QString::fromStdString(text); }
QString of(std::string_view text) { return QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size())); }

}  // namespace

HeatChart::HeatChart(QWidget* parent) : Chart(QStringLiteral("sweep"), parent) {
  setMouseTracking(true);
  setFocusPolicy(Qt::StrongFocus);
  setMinimumSize(320, 220);
  setToolTip(
      tr("Each cell is a point of the sweep, or the best of several; a click makes it the question, the arrow keys walk, Enter does as a click"));
}

void HeatChart::show_map(std::optional<view::HeatMap> map) {
  map_ = std::move(map);
  if (!map_ || (current_ && *current_ >= map_->cells.size())) current_.reset();
  hovered_.reset();
  update();
  Q_EMIT current_changed();
}

void HeatChart::set_current(std::optional<std::size_t> cell) {
  current_ = cell;
  update();
  Q_EMIT current_changed();
}

view::HeatLayout HeatChart::layout(const QFont& font, QSizeF size) const {
  const QFontMetricsF metrics(font);
  double names = 20;
  for (const std::string& line : map_->lines) names = std::max(names, metrics.horizontalAdvance(of(line)));
  names = std::min(names, size.width() / 3);
  const double line = metrics.height();
  return view::heat_layout(*map_, kEdge + names + 10, kEdge + kLegend + 2 * line + 10, size.width() - kEdge, size.height() - kEdge);
}

QPointF HeatChart::middle_of(std::size_t cell) const {
  const view::HeatLayout l = layout(font(), QSizeF(size()));
  return {l.x(cell) + l.cell_width / 2, l.y(cell) + l.cell_height / 2};
}

QString HeatChart::describe(std::size_t index) const {
  const view::HeatCell& cell = map_->cells[index];
  QString text = QString("%1 = %2").arg(of(map_->x), of(map_->columns[index % map_->columns.size()]));
  if (!map_->y.empty()) text += QString("\n%1 = %2").arg(of(map_->y), of(map_->lines[index / map_->columns.size()]));
  if (cell.value) text += QString("\n%1: %2").arg(of(view::title(map_->figure)), of(view::text(map_->figure, *cell.value)));
  if (!cell.why.empty()) text += "\n" + of(cell.why);
  if (!cell.row) text += "\n" + tr("was not reached");
  if (cell.points > 1) text += "\n" + (cell.value ? tr("the best of %1 points") : tr("the first of %1 points")).arg(cell.points);
  return text;
}

void HeatChart::paint(QPainter& painter, QSizeF size, const Theme& theme) const {
  if (!map_ || map_->cells.empty())
    return paint_empty(painter, size, theme, tr("No sweep yet"),
                       tr("Choose fields and values above and press Sweep, or open the results of “orrery sweep”"));
  painter.fillRect(QRectF({}, size), theme.ground);
  const QFont plain = painter.font(), small = small_font(plain);
  const view::HeatLayout l = layout(plain, size);
  const QFontMetricsF metrics(plain), fine(small);
  const view::HeatMap& map = *map_;
  painter.setRenderHint(QPainter::Antialiasing, false);

  // The scale.
  const double scale_width = std::min(260.0, size.width() - 2 * kEdge - 20);
  painter.setFont(plain);
  painter.setPen(theme.ink);
  painter.drawText(QPointF(kEdge, kEdge + metrics.ascent()), of(view::title(map.figure)));
  const double scale_top = kEdge + metrics.height() + 4;
  for (int x = 0; x < static_cast<int>(scale_width); ++x)
    painter.fillRect(QRectF(kEdge + x, scale_top, 1, kScaleHeight), to_qt(view::scale_colour(x / (scale_width - 1))));
  painter.setFont(small);
  painter.setPen(theme.dim);
  const double under = scale_top + kScaleHeight + fine.ascent() + 2;
  painter.drawText(QPointF(kEdge, under), of(view::text(map.figure, map.scale.low)));
  const QString high = of(view::text(map.figure, map.scale.high));
  painter.drawText(QPointF(kEdge + scale_width - fine.horizontalAdvance(high), under), high);
  if (map.scale.logarithmic) {
    const QString word = tr("logarithmic");
    painter.drawText(QPointF(kEdge + (scale_width - fine.horizontalAdvance(word)) / 2, under), word);
  }
  double note = kEdge + scale_width + 24;
  const auto sample = [&](const QBrush& brush, const QColor& edge, const QString& text) {
    if (note + 20 + fine.horizontalAdvance(text) > size.width()) return;
    painter.setPen(edge);
    painter.setBrush(brush);
    painter.drawRect(QRectF(note, scale_top, kScaleHeight, kScaleHeight));
    painter.setPen(theme.dim);
    painter.drawText(QPointF(note + 18, scale_top + fine.ascent() - 1), text);
    note += 18 + fine.horizontalAdvance(text) + 20;
  };
  const auto any = [&](auto is) { return std::any_of(map.cells.begin(), map.cells.end(), is); };
  if (map.best) sample(Qt::NoBrush, theme.ink, tr("best that fits"));
  if (any([](const view::HeatCell& c) { return c.row && (!c.value || !c.fits); }))
    sample(QBrush(theme.dim, Qt::BDiagPattern), theme.line, tr("refused, or does not fit: why is in its tool tip"));

  // Titles and values of the axes.
  painter.setFont(plain);
  painter.setPen(theme.ink);
  const double titles = l.top - 2 * metrics.height() - 6;
  const QString down = map.y.empty() ? QString() : of(map.y) + "  ↓";
  const double across = std::max(l.left, down.isEmpty() ? 0 : kEdge + metrics.horizontalAdvance(down) + 28);
  painter.drawText(QPointF(kEdge, titles + metrics.ascent()), down);
  painter.drawText(QPointF(across, titles + metrics.ascent()), of(map.x) + "  →");
  painter.setPen(theme.dim);
  for (std::size_t c = 0; c < l.columns; ++c)
    painter.drawText(QRectF(l.x(c), l.top - metrics.height() - 4, l.cell_width, metrics.height()), Qt::AlignHCenter,
                     metrics.elidedText(of(map.columns[c]), Qt::ElideMiddle, l.cell_width - 4));
  for (std::size_t r = 0; r < l.lines; ++r)
    painter.drawText(QRectF(kEdge, l.top + l.cell_height * static_cast<double>(r), l.left - kEdge - 8, l.cell_height),
                     int{Qt::AlignRight} | int{Qt::AlignVCenter}, metrics.elidedText(of(map.lines[r]), Qt::ElideMiddle, l.left - kEdge - 8));

  // Seen on any colour of the scale; red where there is none.
  const auto hatching = [&](const view::HeatCell& cell) {
    QColor line = cell.value ? theme.ink_on(to_qt(map.scale.colour(*cell.value))) : theme.bad;
    line.setAlpha(cell.value ? 110 : 190);
    return line;
  };
  for (std::size_t i = 0; i < map.cells.size() && l.columns > 0; ++i) {
    const view::HeatCell& cell = map.cells[i];
    const QRectF box = QRectF(l.x(i), l.y(i), l.cell_width, l.cell_height).adjusted(1, 1, -1, -1);
    if (cell.value) {
      painter.fillRect(box, to_qt(map.scale.colour(*cell.value)));
    } else {
      painter.fillRect(box, theme.panel);
    }
    if (cell.row && (!cell.value || !cell.fits)) painter.fillRect(box, QBrush(hatching(cell), Qt::BDiagPattern));
    QString text = cell.value ? of(view::text(map.figure, *cell.value)) : cell.row ? tr("refused") : QString();
    QRectF words = box;
    if (cell.value && !cell.fits) text += "\n" + tr("too large");
    const double needed = text.contains('\n') ? 2 * fine.height() : fine.height();
    painter.setFont(small);
    double width = 0;
    for (const QString& line : text.split('\n')) width = std::max(width, fine.horizontalAdvance(line));
    if (!text.isEmpty() && width + 6 <= box.width() && needed + 2 <= box.height()) {
      const QColor fill = cell.value ? to_qt(map.scale.colour(*cell.value)) : theme.panel;
      if (cell.row && (!cell.value || !cell.fits)) {  // the hatching must not run through the words
        const QRectF plate(box.center().x() - width / 2 - 3, box.center().y() - needed / 2 - 1, width + 6, needed + 2);
        painter.fillRect(plate, fill);
      }
      painter.setPen(cell.value ? theme.ink_on(fill) : theme.dim);
      painter.drawText(words, Qt::AlignCenter, text);
    }
    const auto ring = [&](const QColor& colour, double pen, double inset) {
      painter.setPen(QPen(colour, pen));
      painter.setBrush(Qt::NoBrush);
      painter.drawRect(box.adjusted(inset, inset, -inset, -inset));
    };
    if (map.best == i) {
      ring(theme.ink, 2, 0);
      ring(theme.ground, 1, 2);
    }
    if (hovered_ == i) ring(theme.dim, 1, 0);
    if (current_ == i) {
      ring(theme.accent, 3, 1);
      ring(theme.ground, 1, 3.5);
    }
  }
  painter.setFont(plain);
}

void HeatChart::mousePressEvent(QMouseEvent* event) {
  if (!map_ || event->button() != Qt::LeftButton) return;
  const auto hit = layout(font(), QSizeF(size())).hit(event->position().x(), event->position().y());
  if (!hit) return;
  set_current(hit);
  Q_EMIT activated(*hit);
}

void HeatChart::mouseMoveEvent(QMouseEvent* event) {
  if (!map_) return;
  const auto hit = layout(font(), QSizeF(size())).hit(event->position().x(), event->position().y());
  if (hit == hovered_) return;
  hovered_ = hit;
  update();
}

void HeatChart::leaveEvent(QEvent* /*event*/) {
  hovered_.reset();
  update();
}

void HeatChart::keyPressEvent(QKeyEvent* event) {
  if (!map_ || map_->cells.empty()) return Chart::keyPressEvent(event);
  const std::size_t columns = map_->columns.size(), lines = map_->lines.size(), at = current_.value_or(0);
  const std::size_t column = at % columns, line = at / columns;
  if (!current_ && event->key() >= Qt::Key_Left && event->key() <= Qt::Key_Down) return set_current(0);
  switch (event->key()) {
    case Qt::Key_Left:
      return set_current(line * columns + (column > 0 ? column - 1 : 0));
    case Qt::Key_Right:
      return set_current(line * columns + std::min(column + 1, columns - 1));
    case Qt::Key_Up:
      return set_current((line > 0 ? line - 1 : 0) * columns + column);
    case Qt::Key_Down:
      return set_current(std::min(line + 1, lines - 1) * columns + column);
    case Qt::Key_Return:
    case Qt::Key_Enter:
      if (current_) Q_EMIT activated(*current_);
      return;
    default:
      Chart::keyPressEvent(event);
  }
}

bool HeatChart::event(QEvent* event) {
  if (event->type() == QEvent::ToolTip && map_) {
    auto* help = static_cast<QHelpEvent*>(event);
    if (const auto hit = layout(font(), QSizeF(size())).hit(help->pos().x(), help->pos().y())) {
      QToolTip::showText(help->globalPos(), describe(*hit), this);
      return true;
    }
  }
  return Chart::event(event);
}

}  // namespace orrery::gui

#include "gui/charts/waterfall_chart.h"

#include <QHelpEvent>
#include <QPainter>
#include <QToolTip>
#include <algorithm>
#include <cmath>

#include "core/quantity_text.h"
#include "gui/charts/plot.h"
#include "gui/view/waterfall.h"

namespace orrery::gui {
namespace {

QString seconds(double v) { return QString::fromStdString(format_seconds(Seconds{v})); }

QString signed_seconds(double v) {
  if (v == 0) return QStringLiteral("0");
  return (v > 0 ? QStringLiteral("+") : QStringLiteral("-")) + seconds(std::abs(v));
}

QString of(const std::string& text) { return QString::fromStdString(text); }

constexpr double kTop = 48, kGap = 12, kEdge = 12;

// Rows of equal height below a header, names on the left, a column for numbers on the right.
struct Rows {
  QRectF bars;
  double height = 0;
  double top(std::size_t row) const { return bars.top() + height * static_cast<double>(row); }
};

template <class Row>
Rows rows_in(const QPainter& painter, QSizeF size, const std::vector<Row>& rows, double numbers) {
  const QFontMetricsF metrics(painter.font());
  double names = 60;
  for (const Row& row : rows) names = std::max(names, metrics.horizontalAdvance(of(row.name)));
  const double left = kEdge + names + kGap, right = size.width() - kEdge - numbers - kGap;
  const double room = size.height() - kTop - kEdge;
  const double height = rows.empty() ? 0 : std::min(44.0, room / static_cast<double>(rows.size()));
  return {QRectF(left, kTop, std::max(20.0, right - left), height * static_cast<double>(rows.size())), height};
}

void paint_key(QPainter& painter, QSizeF size, const Theme& theme, const QString& a, const QString& b) {
  const QFont plain = painter.font();
  painter.setFont(small_font(plain));
  const QFontMetricsF metrics(painter.font());
  const double room = (size.width() - 2 * kEdge) / 2 - 24;
  double x = kEdge;
  for (const auto& [colour, letter, text] : {std::tuple(theme.a, "A", a), std::tuple(theme.b, "B", b)}) {
    painter.fillRect(QRectF(x, 12, 10, 10), colour);
    const QString shown = metrics.elidedText(QString::fromUtf8(letter) + "  " + text, Qt::ElideRight, room);
    painter.setPen(theme.dim);
    painter.drawText(QPointF(x + 16, 12 + metrics.ascent() - 1), shown);
    x += 16 + metrics.horizontalAdvance(shown) + 20;
  }
  painter.setFont(plain);
}

void paint_bar(QPainter& painter, const view::LinearAxis& axis, view::WaterfallBar bar, double y, double height, const QColor& colour) {
  const double x0 = axis.pixel(bar.from), x1 = axis.pixel(bar.to);
  painter.fillRect(QRectF(std::min(x0, x1), y, std::max(1.0, std::abs(x1 - x0)), height), colour);
}

}  // namespace

WaterfallChart::WaterfallChart(QString empty, QString how, QWidget* parent)
    : Chart(QStringLiteral("waterfall"), parent), empty_(std::move(empty)), how_(std::move(how)) {
  setMinimumSize(320, 200);
  setToolTip(tr("Where the step's time goes: each bar begins where the one above ends, in seconds"));
}

void WaterfallChart::show_report(std::optional<app::CompareReport> report) {
  report_ = std::move(report);
  update();
}

void WaterfallChart::paint(QPainter& painter, QSizeF size, const Theme& theme) const {
  if (!report_) return paint_empty(painter, size, theme, empty_, how_);
  painter.fillRect(QRectF({}, size), theme.ground);
  paint_key(painter, size, theme, of(report_->a.label), of(report_->b.label));
  const std::vector<view::WaterfallRow> rows = view::waterfall_rows(*report_);
  const QFontMetricsF metrics(painter.font());
  const double number = metrics.horizontalAdvance("0000 ms"), difference = metrics.horizontalAdvance("+0000 ms");
  const Rows place = rows_in(painter, size, rows, 2 * number + difference + 2 * kGap);
  double longest = 0;
  for (const view::WaterfallRow& row : rows) longest = std::max({longest, row.a.from, row.a.to, row.b.from, row.b.to});
  const view::LinearAxis axis(0, longest, place.bars.left(), place.bars.right());
  const double first = place.bars.right() + kGap;
  painter.setPen(theme.dim);
  painter.setFont(small_font(font()));
  for (const auto& [x, width, text] :
       {std::tuple(first, number, "A"), std::tuple(first + number + kGap, number, "B"), std::tuple(first + 2 * (number + kGap), difference, "B − A")})
    if (place.height > 0) painter.drawText(QRectF(x, kTop - 16, width, 16), int{Qt::AlignRight} | int{Qt::AlignBottom}, QString::fromUtf8(text));
  const QFont plain = font();
  QFont strong = plain;
  strong.setBold(true);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const view::WaterfallRow& row = rows[r];
    const double top = place.top(r), bar = std::min(12.0, place.height * 0.36), y = top + place.height / 2;
    if (row.total) {
      painter.setPen(theme.line);
      painter.drawLine(QPointF(kEdge, std::floor(top) + 0.5), QPointF(size.width() - kEdge, std::floor(top) + 0.5));
    }
    painter.setFont(row.total ? strong : plain);
    painter.setPen(theme.ink);
    painter.drawText(QRectF(kEdge, top, place.bars.left() - kEdge - kGap, place.height), int{Qt::AlignLeft} | int{Qt::AlignVCenter}, of(row.name));
    paint_bar(painter, axis, row.a, y - bar - 0.5, bar, theme.a);
    paint_bar(painter, axis, row.b, y + 0.5, bar, theme.b);
    const auto text = [&](double x, double width, const QString& t, const QColor& ink) {
      painter.setPen(ink);
      painter.drawText(QRectF(x, top, width, place.height), int{Qt::AlignRight} | int{Qt::AlignVCenter}, t);
    };
    text(first, number, seconds(row.a.length()), theme.ink);
    text(first + number + kGap, number, seconds(row.b.length()), theme.ink);
    const double d = std::abs(row.difference()) < view::kRounding * longest ? 0 : row.difference();
    text(first + 2 * (number + kGap), difference, signed_seconds(d), d > 0 ? theme.bad : d < 0 ? theme.good : theme.dim);
  }
  painter.setFont(plain);
}

bool WaterfallChart::event(QEvent* event) {
  if (event->type() != QEvent::ToolTip || !report_) return Chart::event(event);
  auto* help = static_cast<QHelpEvent*>(event);
  QPixmap one(1, 1);
  QPainter painter(&one);
  painter.setFont(font());
  const std::vector<view::WaterfallRow> rows = view::waterfall_rows(*report_);
  const Rows place = rows_in(painter, QSizeF(size()), rows, 0);
  const double r = place.height > 0 ? (help->pos().y() - place.bars.top()) / place.height : -1;
  if (r < 0 || r >= static_cast<double>(rows.size())) return Chart::event(event);
  const view::WaterfallRow& row = rows[static_cast<std::size_t>(r)];
  const double a = to_seconds(report_->a.step).v, b = to_seconds(report_->b.step).v;
  const std::string meaning(row.total ? "" : app::part_meaning(report_->waterfall[static_cast<std::size_t>(r)].name));
  const auto share = [](double part, double whole) { return whole > 0 ? of(format_percent(part / whole)) : QString("0 %"); };
  QToolTip::showText(help->globalPos(),
                     tr("%1%7\nA  %2  (%3 of the step)\nB  %4  (%5 of the step)\nB − A  %6")
                         .arg(of(row.name), seconds(row.a.length()), share(row.a.length(), a), seconds(row.b.length()), share(row.b.length(), b),
                              signed_seconds(row.difference()), meaning.empty() ? QString() : ": " + of(meaning)),
                     this);
  return true;
}

BridgeChart::BridgeChart(QWidget* parent) : Chart(QStringLiteral("bridge"), parent) {
  setMinimumSize(260, 200);
  setToolTip(tr("From A's step to B's: what takes longer in B goes right, what takes less goes left; largest first, in seconds"));
}

void BridgeChart::show_report(std::optional<app::CompareReport> report) {
  report_ = std::move(report);
  update();
}

void BridgeChart::paint(QPainter& painter, QSizeF size, const Theme& theme) const {
  if (!report_) return paint_empty(painter, size, theme, {});
  painter.fillRect(QRectF({}, size), theme.ground);
  const QFont plain = painter.font();
  painter.setFont(small_font(plain));
  painter.setPen(theme.dim);
  painter.drawText(QPointF(kEdge, 12 + QFontMetricsF(painter.font()).ascent() - 1), tr("From A's step to B's, largest difference first"));
  painter.setFont(plain);
  const auto most = static_cast<std::size_t>(std::clamp((size.height() - kTop - kEdge) / 24 - 3, 1.0, 12.0));
  const std::vector<view::BridgeRow> rows = view::bridge_rows(*report_, most);
  const QFontMetricsF metrics(plain);
  const double number = metrics.horizontalAdvance("+0000 ms");
  const Rows place = rows_in(painter, size, rows, number);
  double least = 1e300, longest = 0;
  for (const view::BridgeRow& row : rows) {
    least = std::min({least, row.total ? row.bar.to : row.bar.from, row.bar.to});
    longest = std::max({longest, row.bar.from, row.bar.to});
  }
  // What both have in common says nothing: the bars may begin where the differences do, marked by a torn edge.
  const bool torn = least > 0.5 * longest && longest > least;
  const double low = torn ? std::max(0.0, least - 0.35 * (longest - least)) : 0;
  const view::LinearAxis axis(low, longest, place.bars.left(), place.bars.right());
  painter.setRenderHint(QPainter::Antialiasing, false);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const view::BridgeRow& row = rows[r];
    const double top = place.top(r), height = std::min(18.0, place.height * 0.7), y = top + (place.height - height) / 2;
    const double d = row.bar.length();
    const QColor colour = row.total ? (r == 0 ? theme.a : theme.b) : d > 0 ? theme.bad : theme.good;
    const view::WaterfallBar shown{std::max(low, row.bar.from), row.bar.to};
    paint_bar(painter, axis, shown, y, height, colour);
    if (row.total && torn) {
      painter.setRenderHint(QPainter::Antialiasing);
      QPolygonF edge;
      const double x = place.bars.left() + 8;
      for (int k = 0; k <= 4; ++k) edge << QPointF(x + (k % 2 ? 4 : 0), y + height * k / 4);
      for (int k = 4; k >= 0; --k) edge << QPointF(x + 4 + (k % 2 ? 4 : 0), y + height * k / 4);
      painter.setPen(Qt::NoPen);
      painter.setBrush(theme.ground);
      painter.drawPolygon(edge);
      painter.setRenderHint(QPainter::Antialiasing, false);
    }
    if (r + 1 < rows.size()) {  // to where the next begins
      painter.setPen(theme.faint);
      const double x = std::floor(axis.pixel(row.bar.to)) + 0.5;
      painter.drawLine(QPointF(x, y + height), QPointF(x, top + place.height + (place.height - height) / 2));
    }
    QFont strong = plain;
    strong.setBold(row.total);
    painter.setFont(strong);
    painter.setPen(theme.ink);
    painter.drawText(QRectF(kEdge, top, place.bars.left() - kEdge - kGap, place.height), int{Qt::AlignLeft} | int{Qt::AlignVCenter}, of(row.name));
    painter.setPen(row.total ? theme.ink : d > 0 ? theme.bad : theme.good);
    painter.drawText(QRectF(place.bars.right() + kGap, top, number, place.height), int{Qt::AlignRight} | int{Qt::AlignVCenter},
                     row.total ? seconds(row.bar.to) : signed_seconds(d));
  }
  painter.setFont(plain);
}

MemoryPairsChart::MemoryPairsChart(QWidget* parent) : Chart(QStringLiteral("memory"), parent) {
  setMinimumSize(220, 120);
  setToolTip(tr("Peak memory of a device of each pipeline stage"));
}

void MemoryPairsChart::show_report(std::optional<app::CompareReport> report, double capacity) {
  report_ = std::move(report);
  capacity_ = capacity;
  update();
}

void MemoryPairsChart::paint(QPainter& painter, QSizeF size, const Theme& theme) const {
  if (!report_) return paint_empty(painter, size, theme, {});
  if (report_->memory.empty())
    return paint_empty(painter, size, theme, tr("No memory to compare"), tr("One side does not know the memory of its stages"));
  painter.fillRect(QRectF({}, size), theme.ground);
  const QFont plain = painter.font();
  painter.setFont(small_font(plain));
  painter.setPen(theme.dim);
  double longest = 0;
  for (const app::Row& row : report_->memory) longest = std::max({longest, row.a, row.b});
  const bool shows_capacity = capacity_ > 0 && capacity_ < 3 * longest;
  painter.drawText(
      QPointF(kEdge, 12 + QFontMetricsF(painter.font()).ascent() - 1),
      shows_capacity ? tr("Peak memory per device, by pipeline stage; dashed: its capacity, %1").arg(of(format_bytes(Bytes{std::llround(capacity_)})))
                     : tr("Peak memory per device, by pipeline stage"));
  painter.setFont(plain);
  std::vector<app::Row> rows = report_->memory;
  const std::size_t room = static_cast<std::size_t>(std::max(1.0, (size.height() - kTop - kEdge) / 16));
  const std::size_t left_out = rows.size() > room ? rows.size() - room + 1 : 0;
  if (left_out > 0) rows.resize(room - 1);
  const double number = QFontMetricsF(plain).horizontalAdvance("0000 MiB");
  const Rows place = rows_in(painter, size, rows, 2 * number + kGap);
  const view::LinearAxis axis(0, shows_capacity ? std::max(longest, capacity_) : longest, place.bars.left(), place.bars.right());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const double top = place.top(r), bar = std::min(12.0, place.height * 0.38), y = top + place.height / 2;
    if (rows[r].a > 0) paint_bar(painter, axis, {0, rows[r].a}, y - bar - 0.5, bar, theme.a);
    if (rows[r].b > 0) paint_bar(painter, axis, {0, rows[r].b}, y + 0.5, bar, theme.b);
    painter.setPen(theme.ink);
    painter.drawText(QRectF(kEdge, top, place.bars.left() - kEdge - kGap, place.height), int{Qt::AlignLeft} | int{Qt::AlignVCenter},
                     of(rows[r].name));
    const auto text = [&](double x, double v) {
      // A side with fewer stages has nothing here.
      painter.drawText(QRectF(x, top, number, place.height), int{Qt::AlignRight} | int{Qt::AlignVCenter},
                       v > 0 ? of(format_bytes(Bytes{std::llround(v)})) : QString("–"));
    };
    text(place.bars.right() + kGap, rows[r].a);
    text(place.bars.right() + 2 * kGap + number, rows[r].b);
  }
  if (shows_capacity) {
    painter.setPen(QPen(theme.bad, 1, Qt::DashLine));
    const double x = std::floor(axis.pixel(capacity_)) + 0.5;
    painter.drawLine(QPointF(x, place.bars.top() - 4), QPointF(x, place.bars.bottom() + 2));
  }
  if (left_out > 0) {
    painter.setPen(theme.dim);
    painter.drawText(QRectF(kEdge, place.bars.bottom(), size.width() - 2 * kEdge, 16), Qt::AlignLeft, tr("and %1 more").arg(left_out));
  }
}

}  // namespace orrery::gui

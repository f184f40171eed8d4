#include "gui/picture.h"

#include <QAbstractScrollArea>
#include <QBuffer>
#include <QPainter>
#include <QSvgGenerator>
#include <algorithm>
#include <cmath>
#include <vector>

#include "gui/charts/chart.h"
#include "gui/page.h"
#include "gui/theme.h"

namespace orrery::gui {
namespace {

constexpr double kMargin = 16, kGap = 14;

struct Placed {
  const Chart* chart = nullptr;
  QRectF on_page;  // as much as is to be seen of it
  QRectF title, at;
};

struct Layout {
  QSize size;
  QRectF title, caption;
  std::vector<Placed> charts;
};

QFont strong(QFont font, double larger = 1) {
  font.setBold(true);
  font.setPointSizeF(font.pointSizeF() * larger);
  return font;
}

QRectF place_on(const Page& page, const Chart& chart) {
  const QWidget* shown = &chart;
  for (const QWidget* w = chart.parentWidget(); w != nullptr && w != &page; w = w->parentWidget())
    if (const auto* area = qobject_cast<const QAbstractScrollArea*>(w)) shown = area->viewport();
  return {shown->mapTo(&page, QPoint(0, 0)), shown->size()};
}

// Charts beside one another are a row of the picture, which is as wide as the widest.
std::vector<std::vector<Placed>> rows_of(const Page& page) {
  std::vector<Placed> all;
  for (const Chart* chart : page.charts())
    if (chart->isVisibleTo(&page)) all.push_back({chart, place_on(page, *chart), {}, {}});
  std::stable_sort(all.begin(), all.end(), [](const Placed& a, const Placed& b) { return a.on_page.top() < b.on_page.top(); });
  std::vector<std::vector<Placed>> rows;
  for (const Placed& p : all) {
    const auto beside = [&](const Placed& q) {
      const double common = std::min(p.on_page.bottom(), q.on_page.bottom()) - std::max(p.on_page.top(), q.on_page.top());
      return common > 0.5 * std::min(p.on_page.height(), q.on_page.height());
    };
    if (rows.empty() || !std::all_of(rows.back().begin(), rows.back().end(), beside)) rows.emplace_back();
    rows.back().push_back(p);
  }
  for (std::vector<Placed>& row : rows)
    std::stable_sort(row.begin(), row.end(), [](const Placed& a, const Placed& b) { return a.on_page.left() < b.on_page.left(); });
  return rows;
}

Layout layout_of(const Page& page) {
  std::vector<std::vector<Placed>> rows = rows_of(page);
  std::size_t charts = 0;
  double width = 320;
  for (const std::vector<Placed>& row : rows) {
    double sum = kGap * static_cast<double>(row.size() - 1);
    for (const Placed& p : row) sum += p.chart->width();
    width = std::max(width, sum);
    charts += row.size();
  }
  Layout out;
  // Whole pixels, so that charts are as sharp as on screen.
  const double title = std::ceil(QFontMetricsF(strong(page.font(), 1.25)).height()), line = std::ceil(QFontMetricsF(page.font()).height());
  double y = kMargin;
  out.title = {kMargin, y, width, title};
  y += title;
  if (!page.caption().isEmpty()) {
    out.caption = {kMargin, y, width, line};
    y += line;
  }
  for (std::vector<Placed>& row : rows) {
    y += kGap;
    double own = 0, tallest = 0;
    for (const Placed& p : row) own += p.chart->width(), tallest = std::max(tallest, static_cast<double>(p.chart->height()));
    const double wider = (width - kGap * static_cast<double>(row.size() - 1)) / std::max(1.0, own);
    const double head = charts > 1 ? line + 4 : 0;
    double x = kMargin;
    for (Placed& p : row) {
      const double w = std::floor(p.chart->width() * wider), h = p.chart->height();
      p.title = {x, y, w, charts > 1 ? line : 0};
      // A chart that is a little lower than its neighbour is made as tall; one beside a long list is not.
      p.at = {x, y + head, w, tallest <= 2.5 * h ? tallest : h};
      x += w + kGap;
      out.charts.push_back(p);
    }
    y += head + tallest;
  }
  out.size = QSizeF(width + 2 * kMargin, y + kMargin).toSize();
  return out;
}

void paint(QPainter& painter, const Layout& layout, const Page& page) {
  const Theme& colours = theme();
  painter.fillRect(QRectF({}, QSizeF(layout.size)), colours.ground);
  painter.setPen(colours.ink);
  painter.setFont(strong(page.font(), 1.25));
  painter.drawText(layout.title, Qt::AlignLeft | Qt::AlignVCenter, page.title());
  painter.setFont(page.font());
  painter.setPen(colours.dim);
  painter.drawText(layout.caption, Qt::AlignLeft | Qt::AlignVCenter,
                   QFontMetricsF(page.font()).elidedText(page.caption(), Qt::ElideRight, layout.caption.width()));
  for (const Placed& p : layout.charts) {
    if (p.title.height() > 0) {
      painter.setPen(colours.ink);
      painter.setFont(strong(page.font()));
      painter.drawText(p.title, Qt::AlignLeft | Qt::AlignVCenter, p.chart->title());
    }
    painter.save();
    painter.translate(p.at.topLeft());
    painter.setClipRect(QRectF({}, p.at.size()));
    painter.setFont(p.chart->font());
    p.chart->paint(painter, p.at.size(), colours);
    painter.restore();
  }
}

}  // namespace

QImage picture_of(const Page& page, double scale) {
  const Layout layout = layout_of(page);
  QImage image(layout.size * scale, QImage::Format_RGB32);
  image.setDevicePixelRatio(scale);
  QPainter painter(&image);
  paint(painter, layout, page);
  return image;
}

QByteArray svg_of(const Page& page) {
  const Layout layout = layout_of(page);
  QBuffer buffer;
  buffer.open(QIODevice::WriteOnly);
  QSvgGenerator generator;
  generator.setOutputDevice(&buffer);
  generator.setSize(layout.size);
  generator.setViewBox(QRect(QPoint(0, 0), layout.size));
  generator.setTitle("Orrery: " + page.title());
  QPainter painter(&generator);
  paint(painter, layout, page);
  painter.end();
  return buffer.data();
}

}  // namespace orrery::gui

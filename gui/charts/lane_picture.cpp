#include "gui/charts/lane_picture.h"

#include <QFontMetricsF>
#include <QPaintEngine>
#include <QPainter>
#include <algorithm>
#include <cmath>

namespace orrery::gui {
namespace {

using view::kSlots;
using view::SpanId;

QRgb mixed(const QColor& a, const QColor& b, double share) {
  const auto channel = [share](int x, int y) { return static_cast<int>(std::lround(x + share * (y - x))); };
  return qRgb(channel(a.red(), b.red()), channel(a.green(), b.green()), channel(a.blue(), b.blue()));
}

// Where rectangles go: [x0, x1) x [y0, y1) in device pixels.
class Canvas {
 public:
  virtual ~Canvas() = default;
  virtual void fill(int x0, int y0, int x1, int y1, QRgb colour) = 0;
  virtual void hatch(int x0, int y0, int x1, int y1, QRgb colour, QRgb line) = 0;  // diagonal stripes
};

class Pixels : public Canvas {
 public:
  Pixels(QImage& image, double scale)
      : period_(static_cast<int>(std::lround(8 * scale))),
        bits_(reinterpret_cast<QRgb*>(image.bits())),
        stride_(image.bytesPerLine() / 4),
        width_(image.width()),
        height_(image.height()) {}

  void fill(int x0, int y0, int x1, int y1, QRgb colour) override {
    if (!clip(x0, y0, x1, y1)) return;
    QRgb* line = bits_ + y0 * stride_ + x0;
    const int width = x1 - x0;
    if (width <= 2) {  // most are columns
      for (int y = y0; y < y1; ++y, line += stride_) {
        line[0] = colour;
        line[width - 1] = colour;
      }
      return;
    }
    for (int y = y0; y < y1; ++y, line += stride_) std::fill_n(line, width, colour);
  }
  void hatch(int x0, int y0, int x1, int y1, QRgb colour, QRgb stripe) override {
    if (!clip(x0, y0, x1, y1)) return;
    for (int y = y0; y < y1; ++y) {
      QRgb* line = bits_ + y * stride_;
      int at = (x0 + y) % period_;
      for (int x = x0; x < x1; ++x, at = at + 1 == period_ ? 0 : at + 1) line[x] = 4 * at < period_ ? stripe : colour;
    }
  }

 private:
  bool clip(int& x0, int& y0, int& x1, int& y1) const {
    x0 = std::max(x0, 0), y0 = std::max(y0, 0), x1 = std::min(x1, width_), y1 = std::min(y1, height_);
    return x0 < x1 && y0 < y1;
  }
  int period_;  // of stripes: as far apart on a dense screen
  QRgb* bits_;
  qsizetype stride_;
  int width_, height_;
};

// For vector pictures.
class Shapes : public Canvas {
 public:
  Shapes(QPainter& painter, QSizeF size) : painter_(painter), area_(QPointF(0, 0), size) {}

  void fill(int x0, int y0, int x1, int y1, QRgb colour) override { painter_.fillRect(QRectF(x0, y0, x1 - x0, y1 - y0) & area_, QColor(colour)); }
  void hatch(int x0, int y0, int x1, int y1, QRgb colour, QRgb line) override {
    const QRectF rect = QRectF(x0, y0, x1 - x0, y1 - y0) & area_;
    painter_.fillRect(rect, QColor(colour));
    painter_.fillRect(rect, QBrush(QColor(line), Qt::BDiagPattern));
  }

 private:
  QPainter& painter_;
  QRectF area_;
};

// A text to be written once all rectangles are there, in logical pixels.
struct Label {
  double x = 0, y = 0, width = 0;  // of the room that it has
  SpanId span = view::kNoSpan;
  const view::SpanIndex* index = nullptr;
  QRgb ground = 0;
};
struct PassLabel {
  double x = 0, y = 0, width = 0;
  const view::Pass* pass = nullptr;
};

// Rows one by one; what it holds lives for one painting.
class Strokes {
 public:
  Strokes(Canvas& canvas, const LaneScene& scene, const LaneColours& colours, const view::TimeAxis& axis, double scale)
      : canvas_(canvas), scene_(scene), colours_(colours), axis_(axis), scale_(scale), width_(static_cast<int>(std::ceil(axis.width()))) {}

  std::vector<Label> labels;
  std::vector<PassLabel> passes;

  void gap(double from, double to) { canvas_.fill(0, device(from), width_, device(to), colours_.ground); }

  void row(const view::Row& row, double y) {
    const int top = device(y), bottom = std::max(top + 1, device(y + row.height));
    canvas_.fill(0, top, width_, bottom, colours_.track);
    if (row.kind == view::RowKind::difference) {
      differences(*row.lane, top, bottom);
      return;
    }
    const bool other = row.kind == view::RowKind::other;
    lane(other ? *scene_.over : *scene_.index, other ? *row.other : *row.lane, row, top, bottom, other);
  }

 private:
  int device(double logical) const { return static_cast<int>(std::lround(logical * scale_)); }

  void lane(const view::SpanIndex& index, std::size_t lane, const view::Row& row, int top, int bottom, bool other) {
    int body = top;
    if (row.body() > 0) {
      body = top + device(view::kRibbon) + 1;
      ribbon(index, lane, top, body - 1);
    }
    index.visible(lane, axis_, seen_);
    const Timeline& t = index.timeline();
    for (const view::Gap& gap : seen_.gaps) {
      const auto cause = static_cast<std::size_t>(t.spans[gap.before].cause);
      if (gap.x1 - gap.x0 >= 4) {
        canvas_.hatch(gap.x0, body, gap.x1, bottom, colours_.gap[cause], colours_.gap_line[cause]);
      } else {
        canvas_.fill(gap.x0, body, gap.x1, bottom, colours_.gap[cause]);
      }
    }
    for (const view::Column& column : seen_.columns) this->column(column, body, bottom);
    const double room = 26 * scale_;
    const bool writable = bottom - body >= 11 * scale_;
    for (const view::Run& run : seen_.runs) {
      const Span& s = t.spans[run.span];
      const WorkClass work = t.kinds[s.kind].work;
      const std::size_t plain = view::slot(work, false);
      // What is run again keeps its own colour, hatched, and fades with the others of its kind.
      const bool again = s.recompute && !is_communication(work);
      const QRgb colour = again && colours_.fill[view::kRecomputeSlot] == colours_.bright[view::kRecomputeSlot] ? colours_.bright[plain]
                          : again                                                                               ? colours_.fill[view::kRecomputeSlot]
                                                                                                                : colours_.fill[plain];
      const bool edge = run.x1 - run.x0 >= 3;  // a line between neighbours of one colour
      const int end = edge ? run.x1 - 1 : run.x1;
      if (s.recompute) {
        canvas_.hatch(run.x0, body, end, bottom, colour, colours_.hatch[plain]);
      } else {
        canvas_.fill(run.x0, body, end, bottom, colour);
      }
      if (edge) canvas_.fill(end, body, run.x1, bottom, colours_.track);
      if (writable && run.x1 - run.x0 >= room) {
        labels.push_back({run.x0 / scale_, body / scale_ + (bottom - body) / scale_ / 2, (run.x1 - run.x0) / scale_, run.span, &index, colour});
      }
    }
    if (!other) {
      if (scene_.matches) matches(index, lane, body, bottom);
      if (scene_.critical) critical_rows_.push_back({lane, body, bottom});
    }
  }

  void column(const view::Column& c, int top, int bottom) {
    const int height = bottom - top;
    int sum = 0, y = bottom;
    const auto add = [&](std::size_t slot) {
      const int share = c.mix.share[slot];
      if (share == 0) return;
      sum += share;
      const int to = std::max(top, bottom - (sum * height + 127) / 255);
      if (to < y) canvas_.fill(c.x0, to, c.x1, y, colours_.fill[slot]);
      y = std::min(y, to);
    };
    // What a kernel is run again for stands next to what it is.
    add(0);
    add(view::kRecomputeSlot);
    for (std::size_t slot = 1; slot < view::kRecomputeSlot; ++slot) add(slot);
    if (sum != 0 && y == bottom) {  // too little for a pixel: but something
      y = bottom - 1;
      canvas_.fill(c.x0, y, c.x1, bottom, colours_.fill[c.mix.dominant()]);
    }
    if (c.mix.waiting != 0) {
      const int to = std::max(top, bottom - ((sum + c.mix.waiting) * height + 127) / 255);
      if (to < y) canvas_.fill(c.x0, to, c.x1, y, colours_.gap[static_cast<std::size_t>(c.mix.cause)]);
    }
  }

  void ribbon(const view::SpanIndex& index, std::size_t lane, int top, int bottom) {
    const auto all = index.passes(lane);
    const view::TimeRange shown = axis_.range();
    auto pass = std::partition_point(all.begin(), all.end(), [&](const view::Pass& p) { return p.range.end <= shown.begin; });
    int last = -1;
    for (; pass != all.end() && pass->range.begin < shown.end; ++pass) {
      const int x0 = std::max(0, static_cast<int>(std::lround(axis_.pixel(pass->range.begin))));
      const int x1 = std::min(width_, static_cast<int>(std::lround(axis_.pixel(pass->range.end))));
      if (x1 <= last) continue;
      const int gap = x1 - x0 >= 4 ? 1 : 0;
      canvas_.fill(x0, top, std::max(x0 + 1, x1 - gap), bottom, colours_.pass[static_cast<std::size_t>(pass->kind)]);
      last = std::max(x0 + 1, x1);
      if (x1 - x0 >= 12 * scale_) passes.push_back({x0 / scale_, top / scale_, (x1 - x0) / scale_, &*pass});
    }
  }

  void differences(std::size_t lane, int top, int bottom) {
    scene_.differences->visible(lane, axis_, tints_);
    const int middle = top + (bottom - top + 1) / 2;
    const auto colour = [&](std::int8_t tint) {
      return mixed(QColor(colours_.even), QColor(tint < 0 ? colours_.shorter : colours_.longer), std::min(1.0, std::abs(tint) / 100.0));
    };
    for (const view::TintColumn& c : tints_) {
      canvas_.fill(c.x0, top, c.x1, middle, colour(c.tint.longer));
      canvas_.fill(c.x0, middle, c.x1, bottom, colour(c.tint.later));
    }
  }

  // One mark a pixel, in the span's full colour and wide enough to be found.
  void matches(const view::SpanIndex& index, std::size_t lane_index, int top, int bottom) {
    const view::SpanIndex::Lane& lane = index.lanes()[lane_index];
    const std::vector<SpanId>& all = *scene_.matches;
    const auto by_place = [&](SpanId id, std::uint32_t place) { return index.place(id) < place; };
    auto at = std::lower_bound(all.begin(), all.end(), lane.first, by_place);
    const auto end = std::lower_bound(at, all.end(), lane.last, by_place);
    const view::TimeRange shown = axis_.range();
    const auto starts_before = [&](SpanId id, Picoseconds t) { return index.range(id).begin < t; };
    at = std::lower_bound(at, end, shown.begin, starts_before);
    if (at != all.begin()) --at;  // it may reach into what is shown
    while (at != end && index.place(*at) < lane.last) {
      const view::TimeRange range = index.range(*at);
      if (range.begin >= shown.end) break;
      if (index.place(*at) >= lane.first && range.end > shown.begin) {
        const Span& s = index.timeline().spans[*at];
        const int x0 = std::max(0, static_cast<int>(std::floor(axis_.pixel(range.begin))));
        const int x1 = std::max(x0 + 1, static_cast<int>(std::lround(axis_.pixel(range.end)))), wide = std::max(x1, x0 + device(2));
        canvas_.fill(x0, top, wide, bottom, colours_.bright[std::min(view::slot(index.timeline().kinds[s.kind].work, s.recompute), kSlots - 1)]);
        canvas_.fill(x0, bottom - std::max(2, device(2)), wide, bottom, colours_.edge);
        if (x1 - x0 <= 1) {
          at = std::max(at + 1, std::lower_bound(at, end, axis_.time(x0 + 1), starts_before));
          continue;
        }
      }
      ++at;
    }
  }

 public:
  // A bar along the top of what the step's length hangs on.
  void critical_path() {
    if (critical_rows_.empty()) return;
    const view::SpanIndex& index = *scene_.index;
    struct Place {
      int top = -1, bottom = 0, last = -1;
    };
    std::vector<Place> places(index.lanes().size());
    for (const CriticalRow& row : critical_rows_) places[row.lane] = {row.top, row.bottom, -1};
    const view::TimeRange shown = axis_.range();
    for (const SpanId id : index.timeline().critical) {
      if (id >= index.timeline().spans.size()) continue;
      const view::TimeRange range = index.range(id);
      if (range.end <= shown.begin || range.begin >= shown.end) continue;
      Place& place = places[*index.lane_of(id)];
      if (place.top < 0) continue;
      const int left = std::max(0, static_cast<int>(std::floor(axis_.pixel(range.begin))));
      const int x1 = std::min(width_, std::max(left + 1, static_cast<int>(std::lround(axis_.pixel(range.end)))));
      const int x0 = std::max(left, place.last);
      if (x1 <= place.last) continue;
      const int thick = std::min(device(3), std::max(1, (place.bottom - place.top) / 3));
      canvas_.fill(x0, place.top, x1, place.top + thick, colours_.critical);
      canvas_.fill(x0, place.bottom - std::max(1, thick / 3), x1, place.bottom, colours_.critical);
      place.last = x1;
    }
  }

 private:
  struct CriticalRow {
    std::size_t lane = 0;
    int top = 0, bottom = 0;
  };
  Canvas& canvas_;
  const LaneScene& scene_;
  const LaneColours& colours_;
  view::TimeAxis axis_;
  double scale_;
  int width_;
  view::Visible seen_;
  std::vector<view::TintColumn> tints_;
  std::vector<CriticalRow> critical_rows_;
};

QString detail(const Span& s) {
  QString words;
  if (s.microbatch != 0xffff) words += QStringLiteral("  mb %1").arg(s.microbatch);
  if (s.layer != 0xffff) words += QStringLiteral("  layer %1").arg(s.layer);
  return words;
}

}  // namespace

LaneColours::LaneColours(const Theme& theme, std::uint32_t highlight, bool fade_all) {
  const QColor behind = theme.panel;
  for (std::size_t s = 0; s < kSlots; ++s) {
    const bool again = s == view::kRecomputeSlot;
    const QColor base = theme.hue(again ? view::Hue::gemm : static_cast<view::Hue>(s));
    const bool faded = fade_all || (highlight != 0 && (highlight >> s & 1U) == 0);
    const QColor own = again ? QColor(mixed(base, behind, 0.45)) : base;
    bright[s] = own.rgb();
    fill[s] = faded ? mixed(QColor(mixed(own, theme.faint, 0.55)), behind, 0.72) : own.rgb();
    hatch[s] = mixed(QColor(fill[s]), behind, 0.55);
  }
  const bool dim_waits = fade_all || (highlight != 0 && (highlight >> kWaitingSlot & 1U) == 0);
  constexpr std::array<view::Hue, 8> kCauses{view::Hue::none, view::Hue::none, view::Hue::other_compute, view::Hue::tp, view::Hue::cp, view::Hue::ep,
                                             view::Hue::pp,   view::Hue::dp};
  for (std::size_t c = 0; c < kCauses.size(); ++c) {
    const QColor base = kCauses[c] == view::Hue::none ? theme.faint : theme.hue(kCauses[c]);
    const bool loud = highlight >> kWaitingSlot & 1U;
    gap[c] = mixed(behind, base, dim_waits ? 0.05 : loud ? 0.55 : 0.16);
    gap_line[c] = mixed(behind, base, dim_waits ? 0.10 : loud ? 0.85 : 0.38);
  }
  track = behind.rgb();
  ground = theme.ground.rgb();
  edge = theme.accent.rgb();
  critical = theme.critical.rgb();
  longer = theme.hue(view::Hue::dp).rgb();
  shorter = theme.hue(view::Hue::gemm).rgb();
  even = mixed(behind, theme.faint, 0.25);
  const std::array<double, 6> shade{0.10, 0.26, 0.18, 0.20, 0.14, 0.06};
  for (std::size_t k = 0; k < shade.size(); ++k) pass[k] = mixed(behind, theme.ink, shade[k]);
  pass[static_cast<std::size_t>(view::PassKind::update)] = mixed(behind, theme.hue(view::Hue::optimizer), 0.4);
}

const LanePainter::Text& LanePainter::prepared(QHash<std::uint64_t, Text>& texts, std::uint64_t key, const QString& words, const QFont& font) {
  auto at = texts.find(key);
  if (at == texts.end()) {
    if (texts.size() > 20'000) texts.clear();
    Text text{QStaticText(words), QFontMetricsF(font).horizontalAdvance(words)};
    text.text.setTextFormat(Qt::PlainText);
    text.text.prepare({}, font);
    at = texts.insert(key, text);
  }
  return *at;
}

void LanePainter::paint(QPainter& painter, const LaneScene& scene, const std::shared_ptr<const view::LaneLayout>& layout, const view::TimeAxis& axis,
                        double scroll, QSizeF size, const Theme& theme) {
  const bool raster = painter.paintEngine()->type() == QPaintEngine::Raster;
  const double scale = raster ? painter.device()->devicePixelRatioF() : 1;
  Key key{scene, axis, layout, scroll, scale, size, theme.dark, painter.font()};
  if (raster && key == key_ && !image_.isNull()) {
    painter.drawImage(QPointF(0, 0), image_);
    return;
  }
  QFont small = painter.font();
  if (small.pixelSize() > 0) {
    small.setPixelSize(std::max(8, small.pixelSize() - 2));
  } else {
    small.setPointSizeF(std::max(6.5, small.pointSizeF() - 1.5));
  }
  if (font_ != small || of_ != scene.index || over_ != scene.over) {
    names_.clear();
    details_.clear();
    passes_.clear();
    font_ = small;
    of_ = scene.index;
    over_ = scene.over;
  }
  view::TimeAxis device_axis = axis;
  const QSize pixels = (size * scale).toSize();
  device_axis.set_width(pixels.width());
  const LaneColours colours(theme, scene.highlight, scene.matches != nullptr);

  const auto draw = [&](Canvas& canvas, auto&& texts) {
    Strokes strokes(canvas, scene, colours, device_axis, scale);
    const auto [first, last] = layout->rows_between(scroll, scroll + size.height());
    double end = 0;  // of what is painted
    for (std::size_t i = first; i < last; ++i) {
      const double y = layout->rows()[i].y - scroll;
      strokes.gap(end, y);
      strokes.row(layout->rows()[i], y);
      end = y + layout->rows()[i].height;
    }
    strokes.gap(end, size.height());
    if (scene.critical) strokes.critical_path();
    texts(strokes);
  };
  const QFontMetricsF metrics(small);
  const auto write = [&](QPainter& on, const Strokes& strokes) {
    on.setFont(small);
    for (const PassLabel& label : strokes.passes) {
      const view::Pass& pass = *label.pass;
      const QString word = QString::fromLatin1(view::letter(pass.kind).data(), static_cast<qsizetype>(view::letter(pass.kind).size()));
      const bool numbered = pass.microbatch != 0xffff && pass.kind != view::PassKind::update;
      const std::uint64_t id = static_cast<std::uint64_t>(pass.kind) << 16U | pass.microbatch;
      const Text& text = prepared(passes_, id, numbered ? word + QString::number(pass.microbatch) : word, small);
      if (text.width + 4 > label.width || text.width == 0) continue;
      on.setPen(theme.ink);
      on.drawStaticText(QPointF(label.x + 3, label.y + (view::kRibbon - metrics.height()) / 2), text.text);
    }
    for (const Label& label : strokes.labels) {
      const Timeline& t = label.index->timeline();
      const Span& s = t.spans[label.span];
      const bool other = label.index == scene.over.get();
      const Text& name = prepared(names_, std::uint64_t{other} << 32U | s.kind, QString::fromStdString(t.kinds[s.kind].name), small);
      double x = std::max(label.x, 0.0) + 4, room = label.width - 8;
      on.setPen(theme.ink_on(QColor(label.ground)));
      const double y = label.y - metrics.height() / 2;
      if (name.width <= room) {
        on.drawStaticText(QPointF(x, y), name.text);
        x += name.width;
        room -= name.width;
        const Text& more = prepared(details_, std::uint64_t{s.microbatch} << 16U | s.layer, detail(s), small);
        if (more.width > 0 && more.width <= room) on.drawStaticText(QPointF(x, y), more.text);
      } else if (s.microbatch != 0xffff) {
        const Text& digits = prepared(details_, std::uint64_t{1} << 40U | s.microbatch, QString::number(s.microbatch), small);
        if (digits.width <= room) on.drawStaticText(QPointF(x, y), digits.text);
      }
    }
  };
  if (!raster) {
    Shapes shapes(painter, size);
    const QFont before = painter.font();
    draw(shapes, [&](const Strokes& strokes) { write(painter, strokes); });
    painter.setFont(before);
    return;
  }
  if (image_.size() != pixels) image_ = QImage(pixels, QImage::Format_RGB32);
  image_.setDevicePixelRatio(scale);
  Pixels canvas(image_, scale);
  draw(canvas, [&](const Strokes& strokes) {
    if (strokes.labels.empty() && strokes.passes.empty()) return;
    QPainter on(&image_);
    write(on, strokes);
  });
  key_ = std::move(key);
  painter.drawImage(QPointF(0, 0), image_);
}

}  // namespace orrery::gui

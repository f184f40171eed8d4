// The lanes of a timeline as pixels: what TimelineChart paints its marks over.
#pragma once

#include <QFont>
#include <QHash>
#include <QImage>
#include <QStaticText>
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "gui/theme.h"
#include "gui/view/differences.h"
#include "gui/view/lane_layout.h"
#include "gui/view/span_index.h"

class QPainter;

namespace orrery::gui {

using view::kWaitingSlot;

// What is shown of which timelines.
struct LaneScene {
  std::shared_ptr<const view::SpanIndex> index, over;  // `over` may be null, and then `differences` is
  std::shared_ptr<const view::Differences> differences;
  std::uint32_t highlight = 0;                               // bits of slots, and of kWaitingSlot; 0: everything
  std::shared_ptr<const std::vector<view::SpanId>> matches;  // of a search in `index`, by place; null: no search
  bool critical = false;                                     // mark the critical path

  bool operator==(const LaneScene&) const = default;
};

// Colours as pixels, faded where something else is highlighted.
struct LaneColours {
  LaneColours(const Theme& theme, std::uint32_t highlight, bool fade_all);

  std::array<QRgb, view::kSlots> fill{}, hatch{};  // `hatch`: the lighter lines through what is run again
  std::array<QRgb, view::kSlots> bright{};         // never faded
  std::array<QRgb, 8> gap{}, gap_line{};           // by WaitCause
  QRgb ground = 0, track = 0, edge = 0, critical = 0, longer = 0, shorter = 0, even = 0;
  std::array<QRgb, 6> pass{};  // by PassKind
};

// Colours and prepared texts of one theme and font; painting with it is cheap the second time.
class LanePainter {
 public:
  // The rows of `layout` from `scroll` on, on an area of that many logical pixels; `axis` spans its width. A raster device gets its pixels written
  // directly, any other rectangles. `painter` stands at the area's top left corner.
  void paint(QPainter& painter, const LaneScene& scene, const std::shared_ptr<const view::LaneLayout>& layout, const view::TimeAxis& axis,
             double scroll, QSizeF size, const Theme& theme);

 private:
  struct Text {
    QStaticText text;
    double width = 0;
  };
  struct Key {
    LaneScene scene;
    view::TimeAxis axis;
    std::shared_ptr<const view::LaneLayout> layout;
    double scroll = 0, scale = 1;
    QSizeF size;
    bool dark = false;
    QFont font;
    bool operator==(const Key&) const = default;
  };
  const Text& prepared(QHash<std::uint64_t, Text>& texts, std::uint64_t key, const QString& words, const QFont& font);

  Key key_;
  QImage image_;
  QFont font_;
  std::shared_ptr<const view::SpanIndex> of_, over_;  // whose kinds the names are
  QHash<std::uint64_t, Text> names_, details_, passes_;
};

}  // namespace orrery::gui

// The panel beside the timeline: all that is known of the selected span, otherwise where the time went.
#pragma once

#include <QTextBrowser>
#include <memory>
#include <vector>

#include "gui/charts/lane_marks.h"
#include "gui/state/asker.h"

namespace orrery::gui {

class TimelineChart;

class SpanDetails : public QTextBrowser {
  Q_OBJECT

 public:
  explicit SpanDetails(QWidget* parent = nullptr);

  // What it was, why it waited and what it needed. `answer`: what the timeline was predicted for; null of a trace. Returns arrows to what is told of.
  std::vector<Arrow> show_span(const TimelineChart& chart, view::SpanAt span, const std::shared_ptr<const Answer>& answer);
  // Where the time of the step went, or of what is measured; and how to get about.
  void show_step(const TimelineChart& chart);

 Q_SIGNALS:
  void span_wanted(orrery::view::SpanAt span);  // a link to it was followed

 private:
  void show_html(const QString& body);

  QString told_;
};

}  // namespace orrery::gui

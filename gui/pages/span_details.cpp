#include "gui/pages/span_details.h"

#include <QTextDocument>
#include <QUrl>
#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include "app/span_story.h"
#include "core/quantity_text.h"
#include "gui/charts/lane_picture.h"
#include "gui/charts/timeline_chart.h"
#include "gui/theme.h"
#include "gui/view/span_words.h"
#include "gui/view/step_totals.h"

namespace orrery::gui {
namespace {

constexpr std::size_t kMostNeeded = 12;

QString words(const std::string& text) { return QString::fromStdString(text); }
QString words(std::string_view text) { return QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size())); }
QString safe(const std::string& text) { return words(text).toHtmlEscaped(); }
QString time_text(Picoseconds t) { return words(format_seconds(t)); }
QString signed_time(Picoseconds t) { return (t.v > 0 ? QStringLiteral("+") : QString()) + time_text(t); }

QString heading(const QString& text) { return QStringLiteral("<h4>%1</h4>").arg(text); }
QString table(const QString& rows) { return QStringLiteral("<table cellspacing='0'>%1</table>").arg(rows); }

QString row(const QString& name, const QString& value) {
  return QStringLiteral("<tr><td class='n'>%1&nbsp;&nbsp;</td><td>%2</td></tr>").arg(name, value);
}

QString link(const QString& text, SpanAt span) {
  return QStringLiteral("<a href='%1:%2'>%3</a>").arg(span.other ? QStringLiteral("over") : QStringLiteral("span")).arg(span.span).arg(text);
}

app::SpanStory explain(const Timeline& timeline, SpanAt span, const std::shared_ptr<const Answer>& answer) {
  const app::Explored* explored = answer ? answer->explored.get() : nullptr;
  if (explored != nullptr && span.other) return app::explain_span(*explored, timeline, span.span);
  if (explored != nullptr && answer->timeline() == &timeline) return app::explain_span(*explored, span.span);
  return app::explain_span(timeline, span.span);
}

// What had to be there before it could start, what came last first, since that decided; with an arrow from each.
QString needed_text(const app::SpanStory& story, SpanAt span, std::vector<Arrow>& arrows) {
  if (story.needed.empty()) return {};
  std::vector<const app::Needed*> needed;
  for (const app::Needed& n : story.needed) needed.push_back(&n);
  std::stable_sort(needed.begin(), needed.end(),
                   [](const app::Needed* a, const app::Needed* b) { return a->last != b->last ? a->last : a->at > b->at; });
  QString rows;
  for (std::size_t i = 0; i < needed.size() && i < kMostNeeded; ++i) {
    const app::Needed& n = *needed[i];
    const SpanAt there{n.span, span.other};
    QString what = n.text.empty() ? words(app::name(n.how)).toHtmlEscaped() : safe(n.text);
    if (n.span != app::kNoSpan) what = link(what, there);
    const Picoseconds before = story.start - n.at;
    const QString when = n.previous      ? SpanDetails::tr("a step before")
                         : before.v == 0 ? SpanDetails::tr("just then")
                         : before.v > 0  ? SpanDetails::tr("%1 before").arg(time_text(before))
                                         : SpanDetails::tr("later");
    rows += QStringLiteral("<tr><td class='%1'>%2&nbsp;&nbsp;</td><td>%3 <span class='dim'>%4</span></td></tr>")
                .arg(n.last ? QStringLiteral("last") : QStringLiteral("n"), when, what, words(app::name(n.how)).toHtmlEscaped());
    if (n.span != app::kNoSpan && !n.previous) arrows.push_back({there, span, n.last});
  }
  QString text = heading(SpanDetails::tr("Needed before it could start")) + table(rows);
  if (needed.size() > kMostNeeded)
    text += QStringLiteral("<p class='dim'>%1</p>").arg(SpanDetails::tr("and %1 more").arg(needed.size() - kMostNeeded));
  return text;
}

// What the timeline says of messages, beside what the story tells of: an arrow each, and links to those who received what the span sent.
QString received_text(const TimelineChart& chart, const view::SpanIndex& index, SpanAt span, std::vector<Arrow>& arrows) {
  QStringList sent;
  for (const std::uint32_t flow : index.flows_of(span.span)) {
    const Flow& f = index.timeline().flows[flow];
    const SpanAt from{f.from, span.other}, to{f.to, span.other};
    if (std::none_of(arrows.begin(), arrows.end(), [&](const Arrow& a) { return a.from == from && a.to == to; })) arrows.push_back({from, to, false});
    if (to != span) sent << link(chart.describe(to).toHtmlEscaped(), to);
  }
  return sent.isEmpty() ? QString() : heading(SpanDetails::tr("Received by")) + QStringLiteral("<p>%1</p>").arg(sent.join(QStringLiteral("<br>")));
}

// The same instruction in both timelines, where it is in both.
QString twin_text(const TimelineChart& chart, SpanAt span) {
  const view::Differences* d = chart.differences();
  if (d == nullptr) return {};
  const view::SpanId own = span.other ? d->match_of_other(span.span) : span.span;
  if (own == view::kNoSpan || d->match(own) == view::kNoSpan) return {};
  const auto times = [](const view::SpanIndex& of, SpanAt at) {
    return link(SpanDetails::tr("%1 at %2").arg(time_text(of.range(at.span).length()), words(view::place(of.range(at.span).begin))), at);
  };
  const view::Delta delta = d->delta(own);
  const auto predicted = static_cast<double>(chart.index()->range(own).length().v);
  QString longer = signed_time(delta.longer);
  if (predicted > 0) longer = SpanDetails::tr("%1 (%2)").arg(longer, words(format_percent(static_cast<double>(delta.longer.v) / predicted)));
  QString rows = row(safe(chart.names().own), times(*chart.index(), {own, false}));
  rows += row(safe(chart.names().other), times(*chart.over(), {d->match(own), true}));
  rows += row(SpanDetails::tr("longer by"), longer);
  rows += row(SpanDetails::tr("later by"), signed_time(delta.later));
  return heading(SpanDetails::tr("The two timelines")) + table(rows);
}

QString share_row(const QString& name, double time, double whole, const QColor& colour) {
  if (time <= 0) return {};
  return QStringLiteral(
             "<tr><td><span style='color:%1'>■</span>&nbsp;</td><td class='n'>%2&nbsp;&nbsp;</td><td align='right'>%3&nbsp;&nbsp;</td><td "
             "align='right'>%4</td></tr>")
      .arg(colour.name(), name, words(format_percent(time / whole)), time_text(Picoseconds{std::llround(time)}));
}

QString totals_text(const view::MeanTotals& mean) {
  const auto whole = static_cast<double>(std::max<std::int64_t>(1, mean.range.length().v));
  const Theme& t = theme();
  const LaneColours colours(t, 0, false);
  QString rows;
  for (std::size_t s = 0; s < mean.work.size(); ++s) rows += share_row(slot_text(s), mean.work[s], whole, QColor(colours.bright[s]));
  rows += share_row(slot_text(kWaitingSlot), mean.waiting, whole, t.faint);
  rows += share_row(SpanDetails::tr("idle at the ends"), mean.idle, whole, t.grid);
  return heading(SpanDetails::tr("Compute streams, mean of all ranks")) + table(rows);
}

QString help_text() {
  QString rows;
  const auto help = [&](const char* keys, const QString& what) { rows += row(QStringLiteral("<b>%1</b>").arg(QString::fromUtf8(keys)), what); };
  help("click", SpanDetails::tr("a span: what it is and why it waited"));
  help("drag", SpanDetails::tr("move"));
  help("wheel", SpanDetails::tr("rows; with Ctrl (or with all rows in sight) zoom; with Shift sideways"));
  help("W S A D", SpanDetails::tr("closer, away, left, right"));
  help("← → ↑ ↓", SpanDetails::tr("the spans around the selected one"));
  help("F", SpanDetails::tr("fit what is selected, then all"));
  help("/ N", SpanDetails::tr("search, next match"));
  help("Shift+drag", SpanDetails::tr("measure; or M at either end, Shift+M what is selected"));
  help("Ctrl+← →", SpanDetails::tr("the cursor, with Shift in big steps"));
  help("R", SpanDetails::tr("fold the rank, with Shift all ranks"));
  help("C", SpanDetails::tr("critical path"));
  help("1–9 Tab", SpanDetails::tr("colours of the legend"));
  help("Esc", SpanDetails::tr("clear, one after the other"));
  return heading(SpanDetails::tr("Getting about")) + table(rows);
}

}  // namespace

SpanDetails::SpanDetails(QWidget* parent) : QTextBrowser(parent) {
  setAccessibleName(tr("Details"));
  setOpenLinks(false);
  setFrameShape(QFrame::NoFrame);
  setMinimumWidth(220);
  connect(this, &QTextBrowser::anchorClicked, this, [this](const QUrl& url) {
    const QString text = url.toString();
    Q_EMIT span_wanted({static_cast<view::SpanId>(text.section(':', 1).toUInt()), text.startsWith(QStringLiteral("over"))});
  });
}

void SpanDetails::show_html(const QString& body) {
  const Theme& t = theme();
  const QString text =
      QStringLiteral(
          "<style>body { color: %1; } td.n, .dim { color: %2; } td { padding: 1px 0; } h3 { margin: 2px 0 6px 0; } h4 { margin: 12px 0 3px 0; } "
          "a { color: %3; text-decoration: none; } .last { color: %4; }</style>%5")
          .arg(t.ink.name(), t.dim.name(), t.accent.name(), t.critical.name(), body);
  if (text == told_) return;  // it stays scrolled to where it was
  told_ = text;
  document()->setDocumentMargin(12);
  setHtml(text);
}

std::vector<Arrow> SpanDetails::show_span(const TimelineChart& chart, SpanAt span, const std::shared_ptr<const Answer>& answer) {
  const view::SpanIndex& index = span.other ? *chart.over() : *chart.index();
  app::SpanStory story;
  try {
    story = explain(index.timeline(), span, answer);
  } catch (const Error& e) {
    show_html(QStringLiteral("<h3>%1</h3>%2").arg(chart.describe(span).toHtmlEscaped(), words(std::string_view(e.what())).toHtmlEscaped()));
    return {};
  }
  QString text = QStringLiteral("<h3>%1</h3>").arg(safe(story.operation));
  if (story.critical) text += QStringLiteral("<p class='last'>%1</p>").arg(tr("on the critical path"));
  if (!story.why.empty()) text += QStringLiteral("<p>%1</p>").arg(safe(story.why));
  std::vector<Arrow> arrows;
  text += needed_text(story, span, arrows);
  text += received_text(chart, index, span, arrows);
  text += twin_text(chart, span);
  QString rows;
  for (const auto& [name, value] : app::lines(story)) rows += row(safe(name), safe(value));
  text += heading(tr("What it is")) + table(rows);
  show_html(text);
  return arrows;
}

void SpanDetails::show_step(const TimelineChart& chart) {
  const auto& index = chart.index();
  if (!index || index->lanes().empty()) {
    show_html({});
    return;
  }
  const auto& measured = chart.measured();
  QString text =
      QStringLiteral("<h3>%1</h3>")
          .arg(measured ? tr("Measured: %1").arg(time_text(measured->length())) : tr("One step: %1").arg(time_text(index->timeline().step)));
  if (measured)
    text +=
        QStringLiteral("<p class='dim'>%1</p>").arg(tr("from %1 to %2").arg(words(view::place(measured->begin)), words(view::place(measured->end))));
  text += totals_text(view::mean_of_ranks(*index, measured));
  text += help_text();
  show_html(text);
}

}  // namespace orrery::gui

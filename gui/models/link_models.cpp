#include "gui/models/link_models.h"

#include <algorithm>
#include <cmath>

#include "core/quantity_text.h"
#include "gui/charts/topology_chart.h"
#include "gui/theme.h"
#include "gui/view/load_scale.h"
#include "gui/view/palette.h"

namespace orrery::gui {
namespace {

QString words(std::string_view s) { return QString::fromUtf8(s.data(), static_cast<qsizetype>(s.size())); }
QString bytes(double b) { return words(format_bytes(Bytes{static_cast<std::int64_t>(std::llround(b))})); }

QVariant aligned(bool right) { return QVariant((right ? Qt::AlignRight : Qt::AlignLeft) | Qt::AlignVCenter); }

}  // namespace

HotLinksModel::HotLinksModel(QObject* parent) : QAbstractTableModel(parent) {}

void HotLinksModel::show(std::vector<app::HotLink> links, std::shared_ptr<const app::NetworkLoad> load) {
  std::erase_if(links, [](const app::HotLink& l) { return l.load <= 0; });
  beginResetModel();
  links_ = std::move(links), load_ = std::move(load);
  endResetModel();
}

int HotLinksModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(links_.size()); }
int HotLinksModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : int{kColumns}; }

QVariant HotLinksModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid() || !load_) return {};
  const app::HotLink& link = links_[static_cast<std::size_t>(index.row())];
  if (role == Qt::TextAlignmentRole) return aligned(index.column() >= kAlike && index.column() <= kAmount);
  if (role == Qt::DecorationRole && index.column() == kLink) return to_qt(view::load_colour(link.load, theme().dark));
  if (role == Qt::ToolTipRole) return describe_link(*load_, link.level, link.device);
  if (role != Qt::DisplayRole) return {};
  switch (index.column()) {
    case kLink:
      return tr("%1 of device %2").arg(words(load_->levels[link.level].name)).arg(link.device);
    case kAlike:
      return QStringLiteral("%L1").arg(link.alike);
    case kLoad:
      return words(format_percent(link.load));
    case kAmount:
      return amount_text(*load_, std::max(app::sum(link.sent), app::sum(link.received)));
    case kAxes:
      return axes_text(link.sent, link.received);
    default:
      return {};
  }
}

QVariant HotLinksModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal) return {};
  if (role == Qt::TextAlignmentRole) return aligned(section >= kAlike && section <= kAmount);
  static const char* const kNames[kColumns] = {"Link", "Alike", "Load", "Bytes", "By"};
  static const char* const kTips[kColumns] = {"The first device that has it", "Links that carry the same", "Share of what the link can carry one way",
                                              "One way, the busier, in a step", "The axes of parallelism that cause it"};
  if (role == Qt::ToolTipRole) return tr(kTips[section]);
  if (role != Qt::DisplayRole) return {};
  return section == kAmount && load_ && load_->moment ? tr("Rate") : tr(kNames[section]);
}

LinkUsesModel::LinkUsesModel(QObject* parent) : QAbstractTableModel(parent) {}

void LinkUsesModel::show(std::vector<app::LinkUse> uses) {
  beginResetModel();
  uses_ = std::move(uses);
  endResetModel();
}

int LinkUsesModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(uses_.size()); }
int LinkUsesModel::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : int{kColumns}; }

QVariant LinkUsesModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid()) return {};
  const app::LinkUse& use = uses_[static_cast<std::size_t>(index.row())];
  const auto work = static_cast<WorkClass>(static_cast<std::size_t>(WorkClass::tp_comm) + use.axis);
  if (role == Qt::TextAlignmentRole) return aligned(index.column() >= kCount);
  if (role == Qt::DecorationRole && index.column() == kOperation) return theme().work(work);
  if (role == Qt::ToolTipRole && index.column() == kBytes) return tr("%1 sent, %2 received").arg(bytes(use.sent), bytes(use.received));
  if (role != Qt::DisplayRole) return {};
  switch (index.column()) {
    case kOperation:
      return words(app::traffic_axis_name(use.axis)) + " " + QString::fromStdString(use.operation);
    case kAlgorithm:
      return tr("%1 over %L2").arg(words(app::name(use.algorithm))).arg(use.ranks);
    case kCount:
      return QStringLiteral("%L1").arg(use.count);
    case kPayload:
      return bytes(static_cast<double>(use.payload));
    case kBytes:
      return bytes(std::max(use.sent, use.received));
    default:
      return {};
  }
}

QVariant LinkUsesModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal) return {};
  if (role == Qt::TextAlignmentRole) return aligned(section >= kCount);
  static const char* const kNames[kColumns] = {"Operation", "Algorithm", "Times", "Payload", "On the link"};
  static const char* const kTips[kColumns] = {"The axis of parallelism that causes it, and what is executed",
                                              "That it is priced with, and over how many ranks", "Executions in a step",
                                              "Of one execution, counted as NCCL does", "Bytes in a step, one way: the busier"};
  if (role == Qt::ToolTipRole) return tr(kTips[section]);
  return role == Qt::DisplayRole ? QVariant(tr(kNames[section])) : QVariant();
}

}  // namespace orrery::gui

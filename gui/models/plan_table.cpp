#include "gui/models/plan_table.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "core/quantity_text.h"
#include "planner/pareto.h"
#include "program/compile.h"

namespace orrery::gui {
namespace {

struct Heading {
  const char *title, *tip;
};
constexpr std::array<Heading, PlanTable::columns> kHeadings{{
    {"#", "Rank by step time"},
    {"step", "Time of a step"},
    {"slower by", "Against the fastest plan, in %"},
    {"memory", "Peak memory of the fullest device"},
    {"energy", "Energy of a step, all devices"},
    {"price", "US dollars a step, all devices"},
    {"tp", "Tensor parallelism: devices that share each layer"},
    {"cp", "Context parallelism: devices that share each sequence"},
    {"pp", "Pipeline parallelism: ranks in a pipeline"},
    {"vp", "Pieces of the model on each rank of the pipeline"},
    {"dp", "Data parallelism: replicas"},
    {"ep", "Expert parallelism: devices that share the experts"},
    {"micro", "Sequences in a micro-batch"},
    {"schedule", "The order of forward and backward passes"},
    {"recompute", "What is computed again in the backward pass, to save memory"},
    {"ZeRO", "What is sharded over the replicas: 1 optimizer states, 2 gradients too, 3 parameters too"},
    {"bubble", "Idle share of the pipeline, of the schedule with equal stages"},
    {"tokens/s", "Tokens per second and device"},
}};

}  // namespace

PlanTable::PlanTable(QObject* parent) : QAbstractTableModel(parent) {}

void PlanTable::show_report(std::shared_ptr<const app::PlanReport> report) {
  beginResetModel();
  report_ = std::move(report);
  endResetModel();
}

bool PlanTable::worth_showing(int column) const {
  if (!report_) return column != cp && column != ep && column != price && column != tokens;
  if (column == price) return report_->inputs.cluster.price_per_device_hour > 0;
  if (column != cp && column != ep && column != vp) return column != tokens;
  for (int row = 0; row < rowCount(); ++row)
    if (value(candidate(row), row, column) != 1) return true;
  return false;
}

int PlanTable::rowCount(const QModelIndex& parent) const {
  return parent.isValid() || !report_ ? 0 : static_cast<int>(report_->outcome.ranked.size());
}

int PlanTable::columnCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : int{columns}; }

QVariant PlanTable::value(const planner::Candidate& c, int row, int column) const {
  const Cluster& cluster = report_->inputs.cluster;
  const auto whole = [](std::int64_t v) { return QVariant(static_cast<qlonglong>(v)); };
  switch (column) {
    case rank:
      return row + 1;
    case tp:
      return whole(c.plan.parallel.tp);
    case cp:
      return whole(c.plan.parallel.cp);
    case pp:
      return whole(c.plan.parallel.pp);
    case vp:
      return whole(c.plan.parallel.vp);
    case dp:
      return whole(program::data_parallel(cluster, c.plan));
    case ep:
      return whole(c.plan.parallel.ep);
    case micro:
      return whole(c.plan.batch.micro);
    case schedule:
      return QString::fromStdString(c.plan.schedule);
    case recompute:
      return QString::fromStdString(c.plan.recompute.kind);
    case zero:
      return whole(c.plan.sharding.zero);
    case step:
      return to_seconds(c.step).v;
    case slower:
      return c.step / report_->outcome.ranked.front().step - 1;
    case bubble:
      return c.bubble_fraction;
    case memory:
      return whole(c.peak_memory.v);
    case energy:
      return c.energy.v;
    case price: {
      const std::optional<Dollars> dollars = planner::step_price(cluster, c.step);
      return dollars ? dollars->v : 0.0;
    }
    case tokens:
      return static_cast<double>(c.plan.batch.global * c.plan.batch.sequence) / to_seconds(c.step).v / static_cast<double>(cluster.devices);
    default:
      return {};
  }
}

QString PlanTable::text(const planner::Candidate& c, int row, int column) const {
  const QVariant v = value(c, row, column);
  std::string out;
  switch (column) {
    case step:
      out = format_seconds(c.step);
      break;
    case slower:
      out = v.toDouble() == 0 ? "" : fmt::format("{:+.1f} %", 100 * v.toDouble());
      break;
    case bubble:
      out = format_percent(c.bubble_fraction);
      break;
    case memory:
      out = format_bytes(c.peak_memory);
      break;
    case energy:
      out = format_energy(c.energy);
      break;
    case price:
      out = v.toDouble() > 0 ? planner::text(planner::Figure::money, v.toDouble()) : "";
      break;
    case tokens:
      out = v.toDouble() < 1000 ? fmt::format("{:.3g}", v.toDouble()) : format_count(v.toDouble());
      break;
    default:
      return v.toString();
  }
  return QString::fromStdString(out);
}

QVariant PlanTable::data(const QModelIndex& index, int role) const {
  if (!report_ || !checkIndex(index, CheckIndexOption::IndexIsValid | CheckIndexOption::ParentIsInvalid)) return {};
  const planner::Candidate& c = candidate(index.row());
  switch (role) {
    case Qt::DisplayRole:
      return text(c, index.row(), index.column());
    case kSortRole:
      return value(c, index.row(), index.column());
    case Qt::TextAlignmentRole:
      return int{index.column() == schedule || index.column() == recompute ? Qt::AlignLeft : Qt::AlignRight} | int{Qt::AlignVCenter};
    case Qt::ToolTipRole:
      return QString::fromStdString(planner::label(report_->inputs.cluster, c.plan));
    default:
      return {};
  }
}

QVariant PlanTable::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || section < 0 || section >= columns) return QAbstractTableModel::headerData(section, orientation, role);
  const Heading& heading = kHeadings[static_cast<std::size_t>(section)];
  if (role == Qt::DisplayRole) return tr(heading.title);
  if (role == Qt::ToolTipRole) return tr(heading.tip);
  if (role == Qt::TextAlignmentRole) return int{section == schedule || section == recompute ? Qt::AlignLeft : Qt::AlignRight} | int{Qt::AlignVCenter};
  return {};
}

}  // namespace orrery::gui

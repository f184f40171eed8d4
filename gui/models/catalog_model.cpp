#include "gui/models/catalog_model.h"

namespace orrery::gui {

void CatalogModel::show_entries(std::vector<view::CatalogEntry> entries) {
  beginResetModel();
  entries_ = std::move(entries);
  endResetModel();
}

int CatalogModel::rowCount(const QModelIndex& parent) const { return parent.isValid() ? 0 : static_cast<int>(entries_.size()); }

QVariant CatalogModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid() || index.row() >= rowCount()) return {};
  const view::CatalogEntry& entry = entries_[static_cast<std::size_t>(index.row())];
  switch (role) {
    case Qt::DisplayRole:
    case Qt::EditRole:
      return QString::fromStdString(entry.name);
    case Qt::AccessibleDescriptionRole:
    case Qt::ToolTipRole:
      return QString::fromStdString(entry.facts);
    default:
      return {};
  }
}

}  // namespace orrery::gui

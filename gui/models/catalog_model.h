// Shipped models or clusters as a list to choose from: names, and what they are in a line.
#pragma once

#include <QAbstractListModel>
#include <vector>

#include "gui/view/catalog.h"

namespace orrery::gui {

// The name is the item's text, the facts its tooltip.
class CatalogModel : public QAbstractListModel {
  Q_OBJECT

 public:
  using QAbstractListModel::QAbstractListModel;
  void show_entries(std::vector<view::CatalogEntry> entries);
  const std::vector<view::CatalogEntry>& entries() const { return entries_; }

  int rowCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;

 private:
  std::vector<view::CatalogEntry> entries_;
};

}  // namespace orrery::gui

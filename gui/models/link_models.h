// Tables of the network: links by load, and what loads one of them.
#pragma once

#include <QAbstractTableModel>
#include <memory>
#include <vector>

#include "app/network_load.h"

namespace orrery::gui {

// Links that carry something, busiest first; those that carry the same are one row.
class HotLinksModel : public QAbstractTableModel {
  Q_OBJECT

 public:
  enum Column { kLink, kAlike, kLoad, kAmount, kAxes, kColumns };

  explicit HotLinksModel(QObject* parent = nullptr);
  void show(std::vector<app::HotLink> links, std::shared_ptr<const app::NetworkLoad> load);
  const std::vector<app::HotLink>& links() const { return links_; }

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

 private:
  std::vector<app::HotLink> links_;
  std::shared_ptr<const app::NetworkLoad> load_;
};

class LinkUsesModel : public QAbstractTableModel {
  Q_OBJECT

 public:
  enum Column { kOperation, kAlgorithm, kCount, kPayload, kBytes, kColumns };

  explicit LinkUsesModel(QObject* parent = nullptr);
  void show(std::vector<app::LinkUse> uses);
  const std::vector<app::LinkUse>& uses() const { return uses_; }

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

 private:
  std::vector<app::LinkUse> uses_;
};

}  // namespace orrery::gui

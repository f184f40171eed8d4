// The MPI plugin: where process 0 is, told to all by MPI. See executor/mpi.h.
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <mpi.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>

namespace {

struct Place {
  std::array<char, 64> host{};
  int port = 0;
};

// The first interface that others may reach, as a number: names need not mean the same everywhere.
void find_address(Place& place) {
  std::strcpy(place.host.data(), "127.0.0.1");
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return;
  for (const ifaddrs* i = all; i; i = i->ifa_next) {
    if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || (i->ifa_flags & IFF_LOOPBACK) || !(i->ifa_flags & IFF_UP)) continue;
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(i->ifa_addr)->sin_addr, place.host.data(), static_cast<socklen_t>(place.host.size()));
    break;
  }
  freeifaddrs(all);
}

// The system's choice, given back.
void find_port(Place& place) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_ANY);
  socklen_t size = sizeof a;
  if (fd >= 0 && bind(fd, reinterpret_cast<sockaddr*>(&a), size) == 0 && getsockname(fd, reinterpret_cast<sockaddr*>(&a), &size) == 0)
    place.port = ntohs(a.sin_port);
  if (fd >= 0) close(fd);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int orrery_mpi_meet(char* host, int capacity, int* port) {
  if (const int error = MPI_Init(nullptr, nullptr); error != MPI_SUCCESS) return error;
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  Place place;
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank == 0) {
    find_address(place);
    find_port(place);
  }
  const int error = MPI_Bcast(&place, static_cast<int>(sizeof place), MPI_BYTE, 0, MPI_COMM_WORLD);
  MPI_Finalize();
  if (error != MPI_SUCCESS) return error;
  std::strncpy(host, place.host.data(), static_cast<std::size_t>(capacity) - 1);
  *port = place.port;
  return 0;
}

#include "progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace tapegrad {
namespace {

bool is_terminal() {
  const char* kind = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && kind != nullptr && std::string_view(kind) != "dumb";
}
std::size_t terminal_columns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80u;
}

/// Returns at most so many bytes of UTF-8 text, whole characters: a line that is wider than the terminal
/// wraps, and cannot be rewritten.
std::string beginning(const std::string& line, std::size_t bytes) {
  if (bytes >= line.size()) return line;
  const auto goes_on = [&] { return (static_cast<unsigned char>(line[bytes]) & 0xC0U) == 0x80U; };
  while (bytes > 0 && goes_on()) --bytes;
  return line.substr(0, bytes);
}

}  // namespace

Progress::Progress(bool quiet) : quiet_(quiet), terminal_(is_terminal()) {}

bool Progress::due() const { return !quiet_ && clock_.seconds() >= next_; }

void Progress::show(const std::string& line) {
  if (quiet_) return;
  if (terminal_) {
    const std::string shown = beginning(line, terminal_columns() - 1);
    std::fputs(fmt::format("\r{:<{}}", shown, std::max(columns_, shown.size())).c_str(), stderr);
    columns_ = shown.size();
  } else {
    std::fputs((line + "\n").c_str(), stderr);
  }
  std::fflush(stderr);
  next_ = clock_.seconds() + (terminal_ ? 0.2 : 5);
}

void Progress::clear() {
  if (columns_ == 0) return;
  std::fputs(fmt::format("\r{:{}}\r", "", columns_).c_str(), stderr);
  std::fflush(stderr);
  columns_ = 0;
}

std::string Progress::on_step(const TrainingStep& step) {
  if (first_done_ < 0) first_done_ = step.done, first_seconds_ = clock_.seconds();
  if (!due()) return "";
  std::string line = fmt::format("epoch {} of {}  step {}  loss {:.4g}{}", step.epoch, step.epochs,
                                 step.step, step.mean_loss, figures_);
  const double done = step.done - first_done_;
  if (done > 0) {
    const double left = (clock_.seconds() - first_seconds_) * (1 - step.done) / done;
    line += fmt::format("  {:.0f} s left", left);
  }
  show(line);
  return "";
}
std::string Progress::on_epoch(const TrainingEpoch& epoch) {
  figures_ = fmt::format("  (epoch {}:", epoch.epoch);
  for (const auto& [name, value] : epoch.figures)
    figures_ += fmt::format(" {} {:.4g}", name, value);
  figures_ += ")";
  return "";
}
void Progress::on_end(const TrainingEnd& end) {
  clear();
  if (quiet_) return;
  if (!figures_.empty()) std::fputs((figures_.substr(2) + "\n").c_str(), stderr);
  if (!end.why.empty()) std::fputs((end.why + "\n").c_str(), stderr);
}

}  // namespace tapegrad

#include "error_context.h"

namespace tapegrad {
namespace {

constinit thread_local ErrorContext* innermost = nullptr;

}  // namespace

ErrorContext::ErrorContext(std::string_view name, std::size_t index)
    : name_(name.begin(), name.end()), index_(index), outer_(innermost) {
  innermost = this;
}

ErrorContext::~ErrorContext() {
  ErrorContext** link = &innermost;
  while (*link != nullptr && *link != this) link = &(*link)->outer_;
  if (*link == this) *link = outer_;  // else it ends in another thread
}

std::string ErrorContext::path() {
  std::string path;
  for (const ErrorContext* c = innermost; c != nullptr; c = c->outer_) {
    std::string name(c->name_.begin(), c->name_.end());
    if (c->index_ != no_index) name += "." + std::to_string(c->index_);
    path.insert(0, c == innermost ? name : name + "/");
  }
  return path;
}

std::string ErrorContext::appended_to(const std::string& message) {
  return innermost == nullptr ? message : message + " (in " + path() + ")";
}

}  // namespace tapegrad

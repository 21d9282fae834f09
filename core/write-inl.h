#pragma once

#include "tensor.h"

#pragma GCC visibility push(hidden)

namespace tapegrad::detail {

/// Writes elements as Tensor::mutable_data() does, but does not expose them: for functions of the
/// library that keep no pointer after they return.
struct LibraryWriter {
  template <Element T>
  static T* data(Tensor& tensor) {
    return tensor.write<T>();
  }
};

/// The elements for writing; raises the version.
template <Element T>
T* write(Tensor& tensor) {
  return LibraryWriter::data<T>(tensor);
}

}  // namespace tapegrad::detail

#pragma GCC visibility pop

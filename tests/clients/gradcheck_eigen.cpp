// Somebody's LSTM with Eigen, whose matrices lie column after column. The planted bug: the rows of
// the forget gate in the gradient of W_ih are set in each step where they must be added up.
#include <Eigen/Dense>
#include <iostream>
#include <tapegrad/gradcheck.hpp>
#include <vector>

using Eigen::MatrixXd;

struct EigenLstm {
  static constexpr Eigen::Index T = 6, I = 2, H = 3;
  MatrixXd W_ih = MatrixXd::Random(4 * H, I), W_hh = MatrixXd::Random(4 * H, H);
  MatrixXd b = MatrixXd::Random(4 * H, 1), x = MatrixXd::Random(I, T);
  MatrixXd dW_ih, dW_hh, db;
  MatrixXd a = MatrixXd::Zero(4 * H, T);
  MatrixXd h = MatrixXd::Random(H, T + 1), c = h;  // column 0 is the initial state
  bool wrong = false;

  double loss() {
    for (Eigen::Index t = 0; t < T; ++t) {
      const Eigen::ArrayXd z = W_ih * x.col(t) + W_hh * h.col(t) + b;
      a.col(t) = 1 / (1 + (-z).exp());
      a.col(t).segment(2 * H, H) = z.segment(2 * H, H).tanh();
      c.col(t + 1) = gate(t, 1) * c.col(t).array() + gate(t, 0) * gate(t, 2);
      h.col(t + 1) = gate(t, 3) * c.col(t + 1).array().tanh();
    }
    return h.squaredNorm() / 2;
  }

  void backward() {
    loss();
    dW_ih = MatrixXd::Zero(4 * H, I), dW_hh = MatrixXd::Zero(4 * H, H),
    db = MatrixXd::Zero(4 * H, 1);
    Eigen::ArrayXd dh = Eigen::ArrayXd::Zero(H), dc = dh;
    for (Eigen::Index t = T; t-- > 0;) {
      const Eigen::ArrayXd i = gate(t, 0), f = gate(t, 1), g = gate(t, 2), o = gate(t, 3);
      const Eigen::ArrayXd u = c.col(t + 1).array().tanh();
      dh += h.col(t + 1).array();
      dc += dh * o * (1 - u * u);
      Eigen::VectorXd dz(4 * H);
      dz << dc * g * i * (1 - i), dc * c.col(t).array() * f * (1 - f), dc * i * (1 - g * g),
          dh * u * o * (1 - o);
      dW_ih += dz * x.col(t).transpose();
      if (wrong) dW_ih.middleRows(H, H) = dz.segment(H, H) * x.col(t).transpose();
      dW_hh += dz * h.col(t).transpose();
      db += dz;
      dh = W_hh.transpose() * dz;
      dc *= f;
    }
  }

 private:
  Eigen::ArrayXd gate(Eigen::Index t, Eigen::Index k) const { return a.col(t).segment(k * H, H); }
};

tapegrad::GradcheckReport check(EigenLstm& net) {
  const auto block = [](const char* name, MatrixXd& w, const MatrixXd& dw) {
    auto b = tapegrad::grad_block(name, w, dw, {std::size_t(w.rows()), std::size_t(w.cols())});
    b.column_major = true;
    b.gates = {"i", "f", "g", "o"};
    return b;
  };
  net.backward();
  return tapegrad::gradcheck([&] { return net.loss(); },
                             {block("W_ih", net.W_ih, net.dW_ih),
                              block("W_hh", net.W_hh, net.dW_hh), block("b", net.b, net.db)});
}

int main() {
  EigenLstm net;
  std::cout << check(net) << '\n';
  net.wrong = true;
  std::cout << check(net) << '\n';
}

"""The kernels on a real Ascend NPU through torch_npu, or on the stand-in NPU that `fastattn npu-sim` sets up.

runtime.py finds the library with the kernels and the SoC, glue.py compiles the part that needs torch_npu's headers,
launch.py does one launch. Nothing here is imported before an operator meets an NPU tensor.
"""

// A library that exists because torch_npu names it; its symbols are in the stand-in libascendcl.
namespace acl_stand_in {
int Empty() { return 0; }
}  // namespace acl_stand_in

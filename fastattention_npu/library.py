"""The torch library `fastattn`, which the operators' modules define their schemas in."""

import torch

LIBRARY = torch.library.Library("fastattn", "DEF")
TAGS = (torch.Tag.pt2_compliant_tag, torch.Tag.needs_fixed_stride_order)

"""The laws that are tested, a small file each; `suite.PROPERTIES` names them."""

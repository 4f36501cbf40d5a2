"""The physical properties that are tested, one small file each. `suite.PROPERTIES` lists them."""

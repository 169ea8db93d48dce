"""Files that people pass on, read for what they hold: nothing in them is loaded, unpickled or executed."""

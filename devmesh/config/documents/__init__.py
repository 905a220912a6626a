"""The resources as users write them, one struct a type; unknown fields are refused."""

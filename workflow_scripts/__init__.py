"""The Python behind Pivotlift's rules: one package a stage; each stage imports `common` and nothing else beside itself."""

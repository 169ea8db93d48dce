"""Reconstruction attacks on federations: which records are behind the exchanged gradients or weights?"""

"""Frames as planes Y, U and V: conversion to RGB and resize by torch, on the device."""
